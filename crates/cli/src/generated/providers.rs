//! The pages of the providers: a table of all, and one for each, made from their descriptors.

use std::fmt::Write as _;

use countersign_server::setup::providers::Descriptor;
use countersign_server::setup::providers::registry;

/// What is true of all of them.
const ABOUT: &str = "# Providers

<!-- Made from crates/providers/descriptors by `countersign generate`; change it there. -->

Whoever carries messages is named by `uses` in a `[[providers]]` row of the configuration. The links lead to what each needs and how it
answers. A gateway that is not here is a file of yours: `countersign provider new NAME` writes it, `countersign provider check` proves it, and
`delivery.descriptors` names the folder that it lies in; or put it behind [`webhook`](providers/webhook.md).

";

/// The page with all of them.
pub fn table() -> String {
    let mut page = ABOUT.to_owned();
    page.push_str(
        "| `uses` | carries | sender | signs in by | delivery reports | what it is |\n|---|---|---|---|---|---|\n",
    );
    for descriptor in registry::all() {
        let name = &descriptor.name;
        let auth = descriptor.auth().unwrap_or("-");
        let receipts = descriptor.receipts_auth().unwrap_or("no");
        let _ = writeln!(
            page,
            "| [`{name}`](providers/{name}.md) | {} | {} | {auth} | {receipts} | {} |",
            channels(descriptor),
            senders(descriptor),
            cell(&descriptor.title)
        );
    }
    page
}

/// The page of one.
pub fn page(descriptor: &Descriptor) -> String {
    let name = &descriptor.name;
    let mut page = format!(
        "# {}\n\n<!-- Made from crates/providers/descriptors/{name}.toml by `countersign generate`; change it there. -->\n\n{}\n\n\
         Carries {}{}. Its own documentation: <{}>.\n",
        descriptor.title,
        descriptor.summary,
        channels(descriptor),
        reach(descriptor),
        descriptor.docs
    );
    for note in &descriptor.notes {
        let _ = write!(page, "\n- {note}");
    }
    if !descriptor.notes.is_empty() {
        page.push('\n');
    }
    let _ = write!(page, "\n## Configuration\n\n```toml\n{}```\n", example(descriptor));
    fields(&mut page, descriptor);
    receipts(&mut page, descriptor);
    keypress(&mut page, descriptor);
    failures(&mut page, descriptor);
    evidence(&mut page, descriptor);
    if !descriptor.sources.is_empty() {
        page.push_str("\n## Sources\n\n");
        for source in &descriptor.sources {
            let _ = writeln!(page, "- <{source}>");
        }
    }
    page
}

/// A row to paste. Secrets stand in files there.
fn example(descriptor: &Descriptor) -> String {
    let mut toml = format!("[[providers]]\nname = \"{0}\"\nuses = \"{0}\"\n", descriptor.name);
    let sender = descriptor.sender.as_ref().map(|sender| sender.field.as_str());
    let report = descriptor.receipts_field();
    for field in &descriptor.fields {
        if !(field.required || sender == Some(field.name.as_str()) || report == Some(field.name.as_str())) {
            continue;
        }
        if field.secret {
            let _ = writeln!(toml, "{0}_file = \"/run/secrets/{0}\"", field.name);
        } else {
            let _ = writeln!(toml, "{} = {:?}", field.name, field.example.as_deref().unwrap_or("…"));
        }
    }
    toml
}

fn fields(page: &mut String, descriptor: &Descriptor) {
    if descriptor.fields.is_empty() {
        return;
    }
    page.push_str("\n| field | needed | secret | what it is |\n|---|---|---|---|\n");
    for field in &descriptor.fields {
        let needed = match (&field.default, field.required) {
            (Some(default), _) => format!("default `{default}`"),
            (None, true) => "yes".to_owned(),
            (None, false) => "no".to_owned(),
        };
        let secret = if field.secret { format!("yes, also as `{}_file`", field.name) } else { "no".to_owned() };
        let _ = writeln!(page, "| `{}` | {needed} | {secret} | {} |", field.name, cell(&field.help));
    }
}

fn receipts(page: &mut String, descriptor: &Descriptor) {
    page.push_str("\n## Delivery reports\n\n");
    let (Some(auth), Some(field)) = (descriptor.receipts_auth(), descriptor.receipts_field()) else {
        page.push_str("None are read: what became of a message after it was taken is not known.\n");
        return;
    };
    let secret = if descriptor.receipts_secret_is_in_path() { format!("/<{field}>") } else { String::new() };
    let _ = writeln!(
        page,
        "They come to `https://<your host>/v1/receipts/<name>{secret}`, and are believed by their {auth} (`{field}`); while that is not set, none is."
    );
    if let Some(setup) = descriptor.receipts_setup() {
        let _ = writeln!(page, "{setup}");
    }
}

fn keypress(page: &mut String, descriptor: &Descriptor) {
    if !descriptor.can_ask_for_a_key() {
        return;
    }
    page.push_str("\n## A key before the code\n\n");
    page.push_str(if descriptor.asks_for_the_code() {
        "With `keypress = \"on\"` the call asks for a key and holds no code. Once a key was pressed the provider asks for the code at\n\
         `https://<your host>/v1/receipts/<name>/<delivery>/<ticket>`, an address of that call alone, and is believed as its reports are. It is answered once, while the\n\
         code can be used; then the call counts as delivered. [Calls](../../voice.md) has the rest.\n"
    } else {
        "With `keypress = \"on\"` the call holds a menu that says the code behind a key. [Calls](../../voice.md) has the rest.\n"
    });
}

fn evidence(page: &mut String, descriptor: &Descriptor) {
    if let Some((documented, all)) = registry::evidence(&descriptor.name) {
        let _ = writeln!(
            page,
            "\n## What it is proved by\n\n{all} answers and reports, {documented} of them as public documents have them; the others are put together from what those say."
        );
    }
}

fn failures(page: &mut String, descriptor: &Descriptor) {
    if !descriptor.is_http() {
        return;
    }
    page.push_str(
        "\n## What its refusals mean\n\nThe first row that fits. `retry_elsewhere` asks the next provider, `retry_later` this one again, `give_up` and\n\
         `blame_number` nobody; `unknown` may have been taken (`delivery.unknown`).\n\n| when | meaning | why |\n|---|---|---|\n",
    );
    for (when, meaning, says) in descriptor.failures() {
        let _ = writeln!(page, "| {} | `{meaning}` | {} |", cell(&when), cell(says));
    }
}

fn channels(descriptor: &Descriptor) -> String {
    descriptor.channels.iter().map(|channel| channel.as_str()).collect::<Vec<_>>().join(", ")
}

/// Where it reaches, if that is said.
fn reach(descriptor: &Descriptor) -> String {
    let countries: Vec<_> = descriptor.countries.iter().map(|country| country.as_str()).collect();
    if countries.is_empty() { String::new() } else { format!(", to numbers of {} alone", countries.join(", ")) }
}

fn senders(descriptor: &Descriptor) -> String {
    let Some(sender) = &descriptor.sender else { return "its own".to_owned() };
    let fields: Vec<_> = std::iter::once(&sender.field).chain(&sender.or).map(|field| format!("`{field}`")).collect();
    let longest = sender.max_length.map(|most| format!(", at most {most}")).unwrap_or_default();
    format!("{}{longest}", fields.join(" or "))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
