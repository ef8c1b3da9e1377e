//! From a message to the bytes of an email (RFC 5322): a text, the same as a small page, and the headers that machines send.

use std::time::{Duration, UNIX_EPOCH};

use countersign::core::outcome::{Failure, Message, Outcome};
use countersign::core::time::Timestamp;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message as Email};
use zeroize::Zeroizing;

use super::settings::Settings;

/// A message as it goes over the wire. It holds the code.
pub(super) struct Letter {
    pub to: Address,
    /// Our name for it, without the angle brackets: what a mail server's log calls it.
    pub message_id: String,
    pub bytes: Zeroizing<Vec<u8>>,
}

impl Letter {
    pub(super) fn write(message: &Message, settings: &Settings, now: Timestamp) -> Result<Self, Outcome> {
        let to: Address = message.to.reveal().parse().map_err(|_| Outcome::Rejected {
            failure: Failure::BlameNumber,
            reason: "not sent: no mail can be addressed so".to_owned(),
            retry_after: None,
        })?;
        let message_id = format!("{}@{}", message.id, settings.domain());
        let subject = on_one_line(&message.subject);
        let subject = if subject.is_empty() { on_one_line(&message.display_name) } else { subject };
        let date = UNIX_EPOCH + Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or_default());
        // RFC 3834: so that no holiday notice answers.
        let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
        let email = Email::builder()
            .from(settings.from.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(subject.as_str())
            .date(date)
            .message_id(Some(format!("<{message_id}>")))
            .raw_header(automatic)
            .multipart(MultiPart::alternative_plain_html(lines(&message.text), page(message).to_string()))
            .map_err(|_| Outcome::Rejected {
                failure: Failure::GiveUp,
                reason: "not sent: no email could be made of this message".to_owned(),
                retry_after: None,
            })?;
        Ok(Self { to, message_id, bytes: Zeroizing::new(email.formatted()) })
    }
}

/// The page: who sends, the code in large figures that are selected by one click, and the text. No picture, no link, nothing that is
/// fetched.
fn page(message: &Message) -> Zeroizing<String> {
    let mut page = Zeroizing::new(String::with_capacity(2048));
    page.push_str("<!doctype html>\n<html lang=\"");
    escape(&message.locale, &mut page);
    page.push_str("\" dir=\"auto\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>");
    escape(&message.subject, &mut page);
    page.push_str("</title></head>\n<body style=\"font-family:sans-serif;font-size:16px;line-height:1.5;max-width:32em;margin:0 auto;padding:24px\">\n<p><strong>");
    escape(&message.display_name, &mut page);
    page.push_str("</strong></p>\n<p dir=\"ltr\" style=\"font-family:monospace;font-size:36px;letter-spacing:6px;margin:24px 0;user-select:all;-webkit-user-select:all\">");
    escape(message.code.reveal(), &mut page);
    page.push_str("</p>\n<p>");
    for (nth, line) in message.text.lines().enumerate() {
        if nth > 0 {
            page.push_str("<br>\n");
        }
        escape(line, &mut page);
    }
    page.push_str("</p>\n</body>\n</html>\n");
    page
}

fn escape(text: &str, page: &mut String) {
    for c in text.chars() {
        match c {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            // Nothing that a reader can see.
            c if c.is_control() => page.push(' '),
            c => page.push(c),
        }
    }
}

/// The text with line breaks of one kind: a carriage return alone, which some mail servers take for one and others do not, is how a
/// second message is smuggled behind the first.
fn lines(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { ' ' } else { c }).collect()
}

/// A header ends where its line does.
fn on_one_line(text: &str) -> Zeroizing<String> {
    let plain = |c: char| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c };
    Zeroizing::new(text.trim().chars().map(plain).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use countersign::core::channel::Channel;
    use countersign::core::destination::Destination;
    use countersign::core::id::{ApplicationName, DeliveryId};
    use proptest::prelude::*;

    use super::*;
    use crate::config::ProviderConfig;

    fn message(to: &str, display_name: &str, subject: &str, text: &str) -> Message {
        Message {
            id: DeliveryId::from_bytes([7; 16]),
            application: ApplicationName::default(),
            display_name: display_name.to_owned(),
            channel: Channel::Email,
            to: Destination::parse(to, None).unwrap(),
            subject: subject.to_owned().into(),
            text: text.to_owned().into(),
            code: "482913".parse().unwrap(),
            ticket: Default::default(),
            locale: "en".to_owned(),
            expires_at: Timestamp::from_millis(1_700_000_300_000),
        }
    }

    fn settings(from_name: &str) -> Settings {
        let config = ProviderConfig::new("mail", "smtp").with("host", "127.0.0.1").with("tls", "none");
        Settings::read(&config.with("from", "codes@example.com").with("from_name", from_name)).unwrap()
    }

    fn written(message: &Message, from_name: &str) -> String {
        let letter = Letter::write(message, &settings(from_name), Timestamp::from_millis(1_700_000_000_000)).unwrap();
        String::from_utf8(letter.bytes.to_vec()).unwrap()
    }

    /// The names of the headers before the first empty line; a folded line belongs to the one above.
    fn header_names(email: &str) -> Vec<String> {
        let head = email.split("\r\n\r\n").next().unwrap();
        let lines = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
        lines.map(|line| line.split(':').next().unwrap().to_ascii_lowercase()).collect()
    }

    const HEADERS: [&str; 8] =
        ["from", "to", "subject", "date", "message-id", "auto-submitted", "mime-version", "content-type"];

    #[test]
    fn an_email_has_what_machines_send() {
        let email =
            written(&message("asha@example.com", "Duka", "Your Duka code", "Your Duka code is 482913."), "Duka");
        for line in [
            "From: Duka <codes@example.com>",
            "To: asha@example.com",
            "Subject: Your Duka code",
            "Date: Tue, 14 Nov 2023 22:13:20 +0000",
            "Message-ID: <dl_07070707070707070707070707070707@example.com>",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Type: text/html; charset=utf-8",
        ] {
            assert!(email.split("\r\n").any(|found| found == line), "{line}\n{email}");
        }
        assert!(email.contains("multipart/alternative"));
    }

    #[test]
    fn the_page_escapes_what_it_shows() {
        let evil = message("a@example.com", "<b>\"Duka\" & 'Co'</b>", "s", "<script>x</script>\nline two 482913");
        let page = page(&evil);
        assert!(!page.contains("<script>") && !page.contains("<b>"), "{}", *page);
        assert!(page.contains("&lt;b&gt;&quot;Duka&quot; &amp; &#39;Co&#39;&lt;/b&gt;"));
        assert!(page.contains("&lt;/script&gt;<br>\nline two 482913"));
        assert!(page.contains(">482913</p>"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// BUGS G9: no text that anybody writes adds a header, ends the head early or forges one.
        #[test]
        fn bug_g9_no_text_becomes_a_header(
            display_name in "(\\PC|[\r\n\t\\x00\u{2028}]){0,80}",
            subject in "(\\PC|[\r\n\t:]|\r\nBcc: x@example.com|\n\n){0,90}",
            text in "(\\PC|[\r\n]|\r\n\\.\r\n){0,200}",
            from_name in "(\\PC|[\"<>@,;]){1,40}",
            local in "[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,20}",
        ) {
            let Ok(Destination::Email(_)) = Destination::parse(&format!("{local}@example.com"), None) else { return Ok(()) };
            let email = written(&message(&format!("{local}@example.com"), &display_name, &subject, &text), &from_name);
            let names = header_names(&email);
            prop_assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), HEADERS, "{}", email);
            prop_assert!(email.is_ascii());
            prop_assert!(email.split("\r\n").all(|line| !line.contains(['\r', '\n']) && line.len() <= 998));
        }
    }
}
