//! What may be typed. Parser, help, man page, completions and the reference page are all made from here.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use countersign::core::channel::Channel;
use countersign::core::id::ApplicationName;
use countersign::core::time::Timestamp;
use countersign_server::config::read_duration;
use countersign_server::keys::read_rfc3339;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused: a wrong code, a used-up limit, nothing pending
  2  usage or configuration
  3  broken: the store or the provider cannot be reached

Configuration:
  --config FILE, else $COUNTERSIGN_CONFIG, else ./countersign.toml, else the defaults.
  Every key can be overridden: policy.ttl by COUNTERSIGN_POLICY__TTL.

Examples:
  countersign serve
  countersign send +255694230173
  countersign check +255694230173 123456";

/// Proves that a person controls a phone number or an email address: sends a one-time code, and checks what comes back, once.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The configuration file [default: $COUNTERSIGN_CONFIG, else ./countersign.toml if it is there, else the defaults]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Options of every command")]
    pub config: Option<PathBuf>,
    /// The application that is meant
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        default_value = "default",
        help_heading = "Options of every command"
    )]
    pub app: ApplicationName,
    /// Print one JSON object instead of text, for errors too
    #[arg(long, global = true, help_heading = "Options of every command")]
    pub json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the HTTP service
    ///
    /// Without any configuration it keeps an SQLite file in the working directory and catches messages in an inbox page. It prints
    /// its address, an API key (made on the first run, shown once) and a curl to paste for a send and for a check.
    #[command(
        after_help = "Examples:\n  countersign serve\n  countersign serve --config /etc/countersign.toml\n  COUNTERSIGN_SERVER__LISTEN=127.0.0.1:9000 countersign serve"
    )]
    Serve,
    /// Send a code, or send the pending one again
    #[command(
        after_help = "Examples:\n  countersign send +255694230173\n  countersign send +255694230173 --purpose registration --channel sms --locale sw\n  countersign send jane@example.com --json"
    )]
    Send(Send),
    /// Check a code that came back; exit code 1 unless it is the right one
    #[command(
        after_help = "Examples:\n  countersign check +255694230173 123456\n  countersign check vf_0123456789abcdef0123456789abcdef 123456 --json\n\nGuesses by id and by destination are counted apart: who only knows a number cannot lock its owner out."
    )]
    Check(Check),
    /// Send the pending code of a destination again
    #[command(
        after_help = "Examples:\n  countersign resend +255694230173\n  countersign resend vf_0123456789abcdef0123456789abcdef --channel voice"
    )]
    Resend(Resend),
    /// Show where the latest verification of a destination stands, or the one of an id
    #[command(
        after_help = "Examples:\n  countersign status +255694230173\n  countersign status vf_0123456789abcdef0123456789abcdef --json"
    )]
    Status(Status),
    /// Delete what expired long ago; the service does so by itself
    #[command(after_help = "Examples:\n  countersign cleanup --dry-run\n  countersign cleanup --older-than 7d")]
    Cleanup(Cleanup),
    /// Bring the store's schema up to date, or print the SQL
    #[command(
        after_help = "Examples:\n  countersign migrate\n  countersign migrate --print > schema.sql\n\nTo the table of an application (store.layout = \"existing\") it adds what is lacking; --print shows what that is."
    )]
    Migrate(Migrate),
    /// Write everything that the store has into a file of JSON lines
    #[command(
        after_help = "Examples:\n  countersign export all.jsonl\n  countersign export all.jsonl --continue\n  countersign export | gzip > all.jsonl.gz\n\nThe file holds destinations: keep it as you keep the database. Codes are not in it, nor is the key ring (keys.file):\nwhoever moves verifications moves the ring with them. End the service before, or what happens meanwhile is missing."
    )]
    Export(Export),
    /// Take a file of `export` into the store
    ///
    /// It can be done again: what is there already is left. Rows that differ from what is there are left too, and named (exit code 1).
    /// A line that cannot be read is named with its number; those before it are in.
    #[command(after_help = "Examples:\n  countersign import all.jsonl\n  zcat all.jsonl.gz | countersign import")]
    Import(Import),
    /// Copy the store's file while it is in use (SQLite)
    #[command(
        after_help = "Examples:\n  countersign backup /backups/countersign-$(date +%F).db\n\nNothing is overwritten. Copy the key ring (keys.file) too: without it nothing in the copy can be checked."
    )]
    Backup {
        /// The copy; it must not be there yet
        file: PathBuf,
    },
    /// Applications: the tenants, each with its own verifications, limits and keys
    #[command(subcommand)]
    App(App),
    /// API keys of an application
    #[command(subcommand)]
    Key(Key),
    /// Providers: who carries messages
    #[command(subcommand)]
    Provider(Provider),
    /// Routes: who would carry a message, and why
    #[command(subcommand)]
    Route(Route),
    /// Texts: what would be sent, in which language, and what it costs
    #[command(subcommand)]
    Template(Template),
    /// The guard against SMS pumping: which blocks of numbers are full, and opening one
    #[command(subcommand)]
    Guard(Guard),
    /// Webhooks to applications: how endpoints fare, what is to be sent again, whether one is there
    #[command(subcommand)]
    Webhook(Webhook),
    /// The configuration: its default file, its mistakes, its meaning
    #[command(subcommand)]
    Config(Config),
    /// Walk through everything that must be right; each line OK or what to do
    #[command(
        after_help = "Examples:\n  countersign doctor\n  countersign doctor --config /etc/countersign.toml --json\n\nNothing is changed, and no message leaves: the send and the check run in memory.\nExit codes: 0 all is well, 1 something to do, 2 in the configuration, 3 the store cannot be reached."
    )]
    Doctor,
    /// Print the OpenAPI document of the HTTP API
    #[command(after_help = "Examples:\n  countersign openapi > openapi.json")]
    Openapi,
    /// The key ring: what codes are derived under and tokens are signed with
    #[command(subcommand)]
    Keys(Keys),
    /// Print shell completions
    #[command(
        after_help = "Examples:\n  countersign completions bash > /etc/bash_completion.d/countersign\n  countersign completions zsh > ~/.zfunc/_countersign"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    #[command(after_help = "Examples:\n  countersign man > countersign.1\n  countersign man config explain")]
    Man {
        /// The command whose page to print; the whole program's if not given
        command: Vec<String>,
    },
    /// Write the generated reference files into a directory
    #[command(hide = true)]
    Generate {
        /// The directory
        directory: PathBuf,
    },
}

/// `send`.
#[derive(Debug, Args)]
pub struct Send {
    /// A phone number with its country code, or an email address
    pub to: String,
    /// What the proof is for [default: login]
    #[arg(long, short)]
    pub purpose: Option<String>,
    /// sms, voice, whatsapp, telegram or email [default: sms for a number, email for an address]
    #[arg(long, short)]
    pub channel: Option<Channel>,
    /// The language of the text, as en or pt-BR
    #[arg(long)]
    pub locale: Option<String>,
    /// Digits of the code, 4 to 10 [default: policy.code_length]
    #[arg(long, value_name = "DIGITS")]
    pub code_length: Option<u8>,
    /// How long the code works, 30s to 24h [default: policy.ttl]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub ttl: Option<Duration>,
    /// The template of the text
    #[arg(long, value_name = "NAME")]
    pub template: Option<String>,
}

/// `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The destination, or a verification's id (vf_…)
    #[arg(value_name = "TO-OR-ID")]
    pub target: String,
    /// What came back
    pub code: String,
    /// What the proof is for; an id has its own [default: login]
    #[arg(long, short)]
    pub purpose: Option<String>,
}

/// `resend`.
#[derive(Debug, Args)]
pub struct Resend {
    /// The destination, or a verification's id (vf_…)
    #[arg(value_name = "TO-OR-ID")]
    pub target: String,
    /// What the proof is for; an id has its own [default: login]
    #[arg(long, short)]
    pub purpose: Option<String>,
    /// Another channel than last time
    #[arg(long, short)]
    pub channel: Option<Channel>,
}

/// `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// The destination, or a verification's id (vf_…)
    #[arg(value_name = "TO-OR-ID")]
    pub target: String,
    /// Only verifications for this purpose
    #[arg(long, short)]
    pub purpose: Option<String>,
}

/// `cleanup`.
#[derive(Debug, Args)]
pub struct Cleanup {
    /// Delete what expired longer ago than this [default: cleanup.older_than, 24h]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub older_than: Option<Duration>,
    /// Only count
    #[arg(long)]
    pub dry_run: bool,
}

/// `migrate`.
#[derive(Debug, Args)]
pub struct Migrate {
    /// Print the SQL instead of running it
    #[arg(long)]
    pub print: bool,
}

/// `export`.
#[derive(Debug, Args)]
pub struct Export {
    /// The file; it must not be there yet [default: standard output]
    pub file: Option<PathBuf>,
    /// Go on with a file that was cut short
    #[arg(long, requires = "file")]
    pub r#continue: bool,
}

/// `import`.
#[derive(Debug, Args)]
pub struct Import {
    /// The file [default: standard input]
    pub file: Option<PathBuf>,
}

/// `app`.
#[derive(Debug, Subcommand)]
pub enum App {
    /// Create an application; without a row in the configuration the common rules hold for it
    #[command(after_help = "Examples:\n  countersign app create shop && countersign key create shop")]
    Create {
        /// 1 to 32 characters a-z, 0-9, `_` and `-`
        name: ApplicationName,
    },
    /// List the applications
    List,
}

/// `key`.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make an API key: shown once, kept only as a digest
    #[command(
        after_help = "Examples:\n  countersign key create default\n  countersign key create shop --json | jq -r .key"
    )]
    Create {
        /// The application [default: that of --app]
        app: Option<ApplicationName>,
    },
    /// List the keys of an application, without their secrets
    List {
        /// The application [default: that of --app]
        app: Option<ApplicationName>,
    },
    /// Revoke a key; it stops working within a second
    #[command(after_help = "Examples:\n  countersign key revoke key_0123456789abcdef")]
    Revoke {
        /// The key's id (key_…), as `key list` shows it
        id: String,
    },
}

/// `provider`.
#[derive(Debug, Subcommand)]
pub enum Provider {
    /// List what is configured, and what there is
    List,
    /// Show what a provider needs: credentials, where to find them, what it carries
    #[command(after_help = "Examples:\n  countersign provider show twilio")]
    Show {
        /// A provider, or the name of a configured one
        name: String,
    },
    /// Show how providers do, by country: acceptance, delivery and conversion (approved / sent), older messages counting less
    #[command(after_help = "Examples:\n  countersign provider health\n  countersign provider health gateway --json")]
    Health {
        /// Only this one
        name: Option<String>,
    },
    /// Write a descriptor for a gateway of your own, and fixtures that prove it
    #[command(
        after_help = "Examples:\n  countersign provider new my-gateway --folder gateways\n\nBoth files are commented: change them to what the gateway's documentation says, then run\ncountersign provider check gateways/my-gateway.toml, and name the folder by delivery.descriptors."
    )]
    New {
        /// What `uses` will call it: a-z, 0-9, `-` and `_`
        name: String,
        /// Where to write it
        #[arg(long, default_value = ".")]
        folder: PathBuf,
    },
    /// Prove a descriptor by its fixtures, without asking anybody
    #[command(
        after_help = "Examples:\n  countersign provider check gateways/my-gateway.toml\n  countersign provider check gateways\n\nEvery problem is named with its file, its line and its key.\nExit codes: 0 all is well, 2 something to mend."
    )]
    Check {
        /// A descriptor, or a folder of them
        path: PathBuf,
    },
    /// Send one real test message, which holds no live code
    #[command(after_help = "Examples:\n  countersign provider test gateway +255694230173")]
    Test {
        /// The name of a configured provider
        name: String,
        /// To whom
        to: String,
        /// The channel [default: the first that the provider carries there]
        #[arg(long, short)]
        channel: Option<Channel>,
    },
}

/// `route`.
#[derive(Debug, Subcommand)]
pub enum Route {
    /// Say which providers would be asked for a destination, in which order, and what comes after; nothing is sent
    #[command(
        after_help = "Examples:\n  countersign route explain +255694230173\n  countersign route explain +255694230173 --channel voice --app shop --json"
    )]
    Explain {
        /// To whom
        to: String,
        /// The channel [default: the destination's own]
        #[arg(long, short)]
        channel: Option<Channel>,
    },
}

/// `template`.
#[derive(Debug, Subcommand)]
pub enum Template {
    /// Show a text as it would be sent, with a sample code; nothing is sent
    #[command(
        after_help = "Examples:\n  countersign template preview --to +201001234567\n  countersign template preview --locale pt-BR --channel voice\n  countersign template preview --to jane@example.com --purpose payment --json"
    )]
    Preview(Preview),
    /// List a template in every language: the text, its encoding, and how many SMS it takes
    #[command(
        after_help = "Examples:\n  countersign template list\n  countersign template list --template payment --channel email\n  countersign template list --json | jq -r '.languages[] | select(.segments.count > 1) | .locale'"
    )]
    List {
        /// The template [default: default]
        #[arg(long, value_name = "NAME")]
        template: Option<String>,
        /// sms, voice, whatsapp, telegram or email
        #[arg(long, short, default_value = "sms")]
        channel: Channel,
    },
}

/// `template preview`.
#[derive(Debug, Args)]
pub struct Preview {
    /// For whom: the country of a number has a say in the language
    #[arg(long)]
    pub to: Option<String>,
    /// The language asked for, as en or pt-BR
    #[arg(long)]
    pub locale: Option<String>,
    /// What the proof is for
    #[arg(long, short, default_value = "login")]
    pub purpose: String,
    /// sms, voice, whatsapp, telegram or email [default: sms for a number, email for an address]
    #[arg(long, short)]
    pub channel: Option<Channel>,
    /// The template asked for
    #[arg(long, value_name = "NAME")]
    pub template: Option<String>,
    /// How long the code works [default: policy.ttl]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub ttl: Option<Duration>,
}

/// `guard`.
#[derive(Debug, Subcommand)]
pub enum Guard {
    /// Show the blocks that are full, or at least half full, of sends that nobody confirmed
    ///
    /// It walks through all counters of the store.
    #[command(
        after_help = "Examples:\n  countersign guard list\n  countersign guard list --all --app shop\n  countersign guard list --json | jq '.blocks[] | select(.blocked)'"
    )]
    List {
        /// Every block that has any
        #[arg(long)]
        all: bool,
    },
    /// Forget the sends that nobody confirmed in a block, so that it is written to again
    #[command(
        after_help = "Examples:\n  countersign guard open +25569423xxxx\n  countersign guard open TZ --app shop\n\nFor a block that filled up in good faith, as when an operator was down for hours."
    )]
    Open {
        /// The block, as `guard list` shows it
        block: String,
    },
}

/// `webhook`.
#[derive(Debug, Subcommand)]
pub enum Webhook {
    /// List the endpoints: what waits, since when one fails and why, which are disabled
    #[command(
        after_help = "Examples:\n  countersign webhook list\n  countersign webhook list --json | jq '.endpoints[] | select(.failing_since)'"
    )]
    List,
    /// Send events again: one by its id, or those of a time; what is over longer than cleanup.older_than is forgotten
    #[command(
        after_help = "Examples:\n  countersign webhook replay evt_00000000000004d25f0c1d2e3f405162\n  countersign webhook replay --from 2026-11-22T10:00:00Z --to 2026-11-22T12:00:00Z\n\nThe running service sends them, under the ids that they had."
    )]
    Replay {
        /// The event's id (evt_…), as its webhook-id
        #[arg(required_unless_present = "from", conflicts_with_all = ["from", "to"])]
        event: Option<String>,
        /// Events from this instant on (RFC 3339)
        #[arg(long, value_name = "TIME", value_parser = instant)]
        from: Option<Timestamp>,
        /// Events before this instant [default: now]
        #[arg(long, value_name = "TIME", value_parser = instant, requires = "from")]
        to: Option<Timestamp>,
        /// Only to this endpoint (we_… or YW…) [default: all]
        #[arg(long, value_name = "ENDPOINT")]
        endpoint: Option<String>,
    },
    /// Print what a webhook signs with that an account set up by the Twilio dialect
    #[command(after_help = "Examples:\n  countersign webhook secret YW0123456789abcdef0123456789abcdef")]
    Secret {
        /// The webhook (YW…), as `webhook list` shows it
        endpoint: String,
    },
    /// Enable an endpoint that answered 410, and send what waits at once
    #[command(after_help = "Examples:\n  countersign webhook enable we_0123456789abcdef")]
    Enable {
        /// The endpoint (we_… or YW…), as `webhook list` shows it
        endpoint: String,
    },
    /// Post a signed message of type webhook.test now
    #[command(after_help = "Examples:\n  countersign webhook test\n  countersign webhook test we_0123456789abcdef")]
    Test {
        /// The endpoint (we_… or YW…) [default: all]
        endpoint: Option<String>,
    },
}

/// `config`.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print the whole default file, with comments
    #[command(after_help = "Examples:\n  countersign config default > countersign.toml")]
    Default,
    /// Check a file: names each mistake with its line, and what to write instead
    #[command(after_help = "Examples:\n  countersign config check countersign.toml")]
    Check {
        /// The file [default: that of --config]
        file: Option<PathBuf>,
    },
    /// Explain a key: what it means, what it may be, its default, its variable
    #[command(after_help = "Examples:\n  countersign config explain policy.ttl\n  countersign config explain limits")]
    Explain {
        /// A key as policy.ttl, or a section as policy
        key: String,
    },
}

/// `keys`.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Add a new active key of each kind; the older ones stay, so that what they made can still be checked
    #[command(
        after_help = "Examples:\n  countersign keys rotate\n\nRunning services notice within a second. A new key is used only when every process and every back end has it: for codes\nafter 10 s, for tokens after 6 min, longer than the key set is cached."
    )]
    Rotate,
    /// List the keys by id and date; never the keys themselves
    List,
}

/// `2026-11-22T10:00:00Z`, with any offset.
fn instant(text: &str) -> Result<Timestamp, String> {
    read_rfc3339(text).ok_or_else(|| "write a time with its offset, for example 2026-11-22T10:00:00Z".to_owned())
}

/// `5m`, or whole seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let seconds = || text.parse().ok().map(Duration::from_secs);
    read_duration(text)
        .or_else(seconds)
        .ok_or_else(|| "write a number and a unit, for example 30s, 5m or 24h".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_fit_together() {
        super::Cli::command().debug_assert();
    }
}
