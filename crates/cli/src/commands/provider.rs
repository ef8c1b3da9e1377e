//! `provider`: who carries messages, what each needs, and one real message to try.

mod health;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use countersign::core::outcome::{Failure, Outcome as Said};
use countersign_server::config::{ProviderSettings, Settings, suggest};
use countersign_server::setup::providers::{Descriptor, proof, registry};
use countersign_server::setup::trial::{NotTried, Tried, test_provider};
use serde_json::{Value, json};

use crate::args::Provider;
use crate::context::Context;
use crate::output::{Answer, Exit, Fault, Outcome};

pub async fn run(context: &Context, command: Provider) -> Outcome {
    match command {
        Provider::List => Ok(list(&*context.settings()?)),
        Provider::Show { name } => show(context, &name),
        Provider::Health { name } => health::run(context, name.as_deref()).await,
        Provider::New { name, folder } => new(context, &name, &folder),
        Provider::Check { path } => check(&path),
        Provider::Test { name, to, channel } => {
            let settings = context.settings()?;
            let provider = configured(&settings, &name)?;
            let tried = test_provider(&settings, &context.app(), provider, &to, channel).await;
            match tried {
                Ok(tried) => answer(&name, &tried),
                Err(NotTried::Request(message)) => Err(Fault::refused("invalid_destination", message)),
                Err(NotTried::SetUp(error)) => Err(error.into()),
            }
        }
    }
}

fn configured<'a>(settings: &'a Settings, name: &str) -> Result<&'a ProviderSettings, Fault> {
    let names: Vec<_> = settings.providers.iter().map(|provider| provider.config.name.as_str()).collect();
    settings.providers.iter().find(|provider| provider.config.name == name).ok_or_else(|| {
        let hint = suggest::hint(name, &names);
        Fault::usage(
            "unknown_provider",
            format!("no provider `{name}` is configured{hint}; see: countersign provider list"),
        )
    })
}

fn words<'a>(channels: impl IntoIterator<Item = &'a countersign::core::channel::Channel>) -> Vec<&'static str> {
    channels.into_iter().map(|channel| channel.as_str()).collect()
}

fn list(settings: &Settings) -> Answer {
    let mut text = String::from("Configured:\n");
    for provider in &settings.providers {
        let implicit = if settings.implicit_provider { "  (because no other is)" } else { "" };
        let (name, uses) = (&provider.config.name, &provider.config.uses);
        text.push_str(&format!("  {name:<16} uses {uses:<12} {}{implicit}\n", words(&provider.channels).join(", ")));
    }
    text.push_str("\nThere is (uses = \"…\"):\n");
    for descriptor in settings.descriptors.all() {
        text.push_str(&format!(
            "  {:<16} {}: {}\n",
            descriptor.name,
            descriptor.title,
            words(&descriptor.channels).join(", ")
        ));
    }
    text.push_str("\nWhat each needs: countersign provider show NAME");
    let configured: Vec<Value> = settings
        .providers
        .iter()
        .map(|provider| {
            json!({"name": provider.config.name, "uses": provider.config.uses, "channels": words(&provider.channels)})
        })
        .collect();
    let available: Vec<Value> = settings
        .descriptors
        .all()
        .map(|descriptor| json!({"name": descriptor.name, "title": descriptor.title, "channels": words(&descriptor.channels)}))
        .collect();
    Answer::new(text, json!({"configured": configured, "available": available}))
}

/// A provider of the registry, or what a configured one uses. Those that come with Countersign are shown whatever state the
/// configuration is in.
fn show(context: &Context, name: &str) -> Outcome {
    if let Some(descriptor) = registry::find(name) {
        return Ok(shown(descriptor));
    }
    let settings = context.settings()?;
    let row = settings.providers.iter().find(|provider| provider.config.name == name);
    let used = row.and_then(|row| row.config.described());
    if let Some(descriptor) = used.or_else(|| settings.descriptors.find(name)) {
        return Ok(shown(descriptor));
    }
    let names: Vec<_> = settings.descriptors.all().map(|descriptor| descriptor.name.as_str()).collect();
    Err(Fault::usage("unknown_provider", format!("there is no provider `{name}`{}", suggest::hint(name, &names))))
}

/// Writes a descriptor to begin with. What is there already is left alone.
fn new(context: &Context, name: &str, folder: &Path) -> Outcome {
    let file = folder.join(format!("{name}.toml"));
    let fixtures = folder.join(format!("{name}{}", registry::FIXTURES));
    let (text, cases) = proof::scaffold(name);
    let bad = |problem: String| Fault::usage("invalid_name", problem);
    Descriptor::parse(&file.display().to_string(), &text)
        .map_err(|error| bad(format!("`{name}`: {}", error.problem)))?;
    if registry::find(name).is_some() {
        return Err(bad(format!("`{name}` comes with Countersign; call yours something else")));
    }
    fs::create_dir_all(folder).map_err(|error| bad(format!("{}: {error}", folder.display())))?;
    for (path, text) in [(&file, text), (&fixtures, cases)] {
        let made = OpenOptions::new().write(true).create_new(true).open(path);
        made.and_then(|mut made| made.write_all(text.as_bytes()))
            .map_err(|error| bad(format!("{}: {error}", path.display())))?;
    }
    let named = context.settings().is_ok_and(|settings| {
        settings.delivery.descriptors.as_ref().is_some_and(|configured| Path::new(configured) == folder)
    });
    let mut said =
        format!("{}\n{}\nchange both, then: countersign provider check {0}", file.display(), fixtures.display());
    if !named {
        said.push_str(&format!("\nin the configuration: [delivery] descriptors = {:?}", folder.display().to_string()));
    }
    Ok(Answer::new(said, json!({"descriptor": file.display().to_string(), "fixtures": fixtures.display().to_string()})))
}

fn check(path: &Path) -> Outcome {
    let proofs =
        proof::prove(path).map_err(|error| Fault::usage("unreadable", format!("{}: {error}", path.display())))?;
    let mut text = Vec::new();
    let mut files = Vec::new();
    for proof in &proofs {
        let file = proof.file.display().to_string();
        let problems: Vec<_> = proof.problems.iter().map(ToString::to_string).collect();
        if problems.is_empty() {
            text.push(format!("OK: {file}, {} cases", proof.cases));
        }
        text.extend(problems.iter().cloned());
        text.extend(proof.notes.iter().map(|note| format!("note: {file}: {note}")));
        files.push(json!({"file": file, "cases": proof.cases, "problems": problems, "notes": proof.notes}));
    }
    if proofs.is_empty() {
        return Err(Fault::usage("unreadable", format!("{} holds no descriptor (*.toml)", path.display())));
    }
    let ok = proofs.iter().all(|proof| proof.problems.is_empty());
    let answer = Answer::new(text.join("\n"), json!({"ok": ok, "files": files}));
    Ok(if ok { answer } else { answer.ending(Exit::Usage) })
}

fn shown(descriptor: &Descriptor) -> Answer {
    let name = &descriptor.name;
    let mut text = format!(
        "{}\n  {}\n  carries {}\n  {}\n",
        descriptor.title,
        descriptor.summary,
        words(&descriptor.channels).join(", "),
        descriptor.docs
    );
    text.push_str("\nFields:\n");
    for field in &descriptor.fields {
        let needed = if field.required { "required" } else { "optional" };
        let secret = if field.secret { format!(", secret: also as {}_file", field.name) } else { String::new() };
        let default = field.default.as_ref().map(|default| format!(", default {default}")).unwrap_or_default();
        text.push_str(&format!("  {:<24} {} ({needed}{secret}{default})\n", field.name, field.help));
    }
    if descriptor.fields.is_empty() {
        text.push_str("  none\n");
    }
    for note in &descriptor.notes {
        text.push_str(&format!("\n{note}\n"));
    }
    let toml = example(descriptor);
    text.push_str(&format!("\nIn the configuration:\n{toml}"));
    let fields: Vec<Value> = descriptor
        .fields
        .iter()
        .map(|field| {
            json!({
                "name": field.name, "help": field.help, "required": field.required, "secret": field.secret,
                "default": field.default, "example": field.example,
            })
        })
        .collect();
    let json = json!({
        "name": name, "title": descriptor.title, "summary": descriptor.summary, "docs": descriptor.docs,
        "channels": words(&descriptor.channels), "notes": descriptor.notes, "receipts": descriptor.has_receipts(),
        "fields": fields, "example": toml,
    });
    Answer::new(text, json)
}

/// A row to paste. Secrets stand in files there.
fn example(descriptor: &Descriptor) -> String {
    let mut toml = format!("  [[providers]]\n  name = \"{0}\"\n  uses = \"{0}\"\n", descriptor.name);
    let sender = descriptor.sender.as_ref().map(|sender| sender.field.as_str());
    for field in descriptor.fields.iter().filter(|field| field.required || sender == Some(field.name.as_str())) {
        let value = field.example.as_deref().unwrap_or("…");
        if field.secret {
            toml.push_str(&format!("  {0}_file = \"/run/secrets/{0}\"\n", field.name));
        } else {
            toml.push_str(&format!("  {} = {value:?}\n", field.name));
        }
    }
    toml
}

fn answer(name: &str, tried: &Tried) -> Outcome {
    let (channel, took) = (tried.channel, u64::try_from(tried.took.as_millis()).unwrap_or(u64::MAX));
    let about = json!({"provider": name, "channel": channel.as_str(), "took_ms": took});
    match &tried.outcome {
        Said::Accepted { message_id } => {
            let id = message_id.as_ref().map(|id| format!(" as {id}")).unwrap_or_default();
            let mut json = about;
            json["outcome"] = json!("accepted");
            json["message_id"] = json!(message_id);
            Ok(Answer::new(format!("accepted by {name} by {channel}{id}, in {took} ms"), json))
        }
        Said::Unknown { reason } => {
            let message = format!("nobody can say whether {name} took it: {reason} ({took} ms)");
            Err(Fault::broken("delivery_unknown", message).with("outcome", json!("unknown")).with("test", about))
        }
        Said::Rejected { failure, reason, .. } => {
            let next = match failure {
                Failure::RetryElsewhere => "in service the next provider would be asked",
                Failure::RetryLater => "in service it would be asked again a little later",
                Failure::GiveUp => "in service the message would be given up",
                Failure::BlameNumber => "it says that the number cannot be reached",
            };
            let message = format!("{name} did not take it: {reason}; {next} ({took} ms)");
            Err(Fault::broken("delivery_failed", message).with("outcome", json!("rejected")).with("test", about))
        }
    }
}
