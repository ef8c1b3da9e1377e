//! What a mail server's refusal means for the next step.
//!
//! The same number means different things at different steps: 550 to a recipient is about the address, to a sender about us. Where a
//! server adds an enhanced code (RFC 3463) it is read, since it says who is to blame; else the plain code of RFC 5321, 4.2.3 decides.

use countersign::core::outcome::{Failure, Outcome};

/// How far the dialogue had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Greeting, EHLO and STARTTLS.
    Greeting,
    /// AUTH.
    LogIn,
    /// MAIL FROM.
    Sender,
    /// RCPT TO.
    Recipient,
    /// DATA, and the message itself.
    Message,
}

/// An enhanced status code: class, subject, detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Enhanced {
    class: u16,
    subject: u16,
    detail: u16,
}

impl Enhanced {
    /// The code that a reply begins with (RFC 2034: `550 5.1.1 no such user`).
    pub(super) fn read(words: &str) -> Option<Self> {
        let code = words.split_whitespace().next()?;
        let mut parts = code.split('.').map(|part| {
            let plain = (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| part.parse().ok()).flatten()
        });
        let (class, subject, detail) = (parts.next()??, parts.next()??, parts.next()??);
        (parts.next().is_none() && matches!(class, 2 | 4 | 5)).then_some(Self { class, subject, detail })
    }
}

/// What a negative reply means.
pub(super) fn meaning(step: Step, code: u16, enhanced: Option<Enhanced>) -> Outcome {
    let enhanced = enhanced.filter(|enhanced| enhanced.class == code / 100);
    let (failure, says) = match (code / 100, enhanced) {
        // RFC 5321, 4.2.1: the same command may succeed later.
        (4, _) => transient(step, code),
        (_, Some(enhanced)) => by_enhanced(step, enhanced).unwrap_or_else(|| by_code(step, code)),
        (_, None) => by_code(step, code),
    };
    let shown = match enhanced {
        Some(Enhanced { class, subject, detail }) => format!("{code} {class}.{subject}.{detail}"),
        None => code.to_string(),
    };
    Outcome::Rejected { failure, reason: format!("{says} ({shown})"), retry_after: None }
}

fn transient(step: Step, code: u16) -> (Failure, &'static str) {
    let says = match (step, code) {
        // RFC 5321, 4.2.3: 421 service not available; 450 mailbox unavailable, busy or blocked by policy, which is how
        // greylisting (RFC 6647) speaks too; 451 local error; 452 not enough storage. RFC 4954, 6: 454 at the login.
        (_, 421) => "the mail server is closing",
        (Step::LogIn, _) => "the mail server cannot log us in now",
        (Step::Recipient, 450 | 451) => "the mail server asks to try this address later",
        (Step::Recipient, 452) => "the mail server has no room for this address now",
        _ => "the mail server asks to try later",
    };
    (Failure::RetryLater, says)
}

/// RFC 3463, section 3.
fn by_enhanced(step: Step, Enhanced { subject, detail, .. }: Enhanced) -> Option<(Failure, &'static str)> {
    use Failure::{BlameNumber, GiveUp, RetryElsewhere};
    Some(match (subject, detail) {
        // X.1.7 bad sender's mailbox, X.1.8 bad sender's system.
        (1, 7 | 8) => (RetryElsewhere, "our sender's address was refused"),
        // X.1.1 bad mailbox, .2 bad system, .3 bad syntax, .4 ambiguous, .6 moved, .10 null MX (RFC 7505).
        (1, 1..=6 | 10) => (BlameNumber, "there is no such address"),
        // X.2.1 disabled, X.2.2 full, X.2.4 list expansion. X.2.3: longer than the mailbox takes.
        (2, 3) => (GiveUp, "the message is too long for the mailbox"),
        (2, 2) => (BlameNumber, "the mailbox is full"),
        (2, _) => (BlameNumber, "the mailbox takes no mail"),
        // X.3.4: longer than the system takes. Others: the system is full, not accepting, incapable, misconfigured.
        (3, 4) => (GiveUp, "the message is too long for the mail server"),
        (3, _) => (RetryElsewhere, "the mail server takes no mail"),
        // X.4.4: no route to the recipient's domain.
        (4, 4) if step == Step::Recipient => (BlameNumber, "no mail server takes mail for this address"),
        (4, _) => (RetryElsewhere, "the mail server cannot pass the message on"),
        // X.5.x: the dialogue. X.6.x: the content or its encoding.
        (5, _) => (RetryElsewhere, "the mail server did not understand"),
        (6, _) => (GiveUp, "the mail server does not take such a message"),
        // X.7.x: security and policy, which is about who sends; also X.7.8 and X.7.9, bad credentials (RFC 4954).
        (7, _) if step == Step::LogIn => (RetryElsewhere, "the user or the password is wrong"),
        (7, _) => (RetryElsewhere, "the mail server's policy refuses it"),
        _ => return None,
    })
}

/// RFC 5321, 4.2.3 and 4.3.2, by step.
fn by_code(step: Step, code: u16) -> (Failure, &'static str) {
    use Failure::{BlameNumber, GiveUp, RetryElsewhere};
    match (step, code) {
        // RFC 4954: 530 authentication required, 534 mechanism too weak, 535 credentials invalid, 538 encryption required.
        (_, 530) => (RetryElsewhere, "the mail server wants us to log in, or TLS first"),
        (_, 534 | 535 | 538) | (Step::LogIn, _) => (RetryElsewhere, "the user or the password is wrong"),
        // 521 and 554 as a greeting: this host takes no mail (RFC 7504, RFC 5321 3.1).
        (Step::Greeting, _) => (RetryElsewhere, "the mail server takes no mail"),
        (Step::Sender, 550 | 553 | 555) => (RetryElsewhere, "our sender's address was refused"),
        (Step::Sender, _) => (RetryElsewhere, "the mail server refused the sender"),
        // 550 no such mailbox, or refused by policy; 551 not local; 553 name not allowed; 556 the domain takes none (RFC 7504).
        (Step::Recipient, 550 | 551 | 553) => (BlameNumber, "there is no such address"),
        (Step::Recipient, 552) => (BlameNumber, "the mailbox is full"),
        (Step::Recipient, 521 | 556) => (BlameNumber, "no mail server takes mail for this address"),
        // 554 transaction failed, which includes relaying that is not allowed.
        (Step::Recipient, _) => (RetryElsewhere, "the mail server refused the recipient"),
        // 552 too much mail data, 550 refused by policy, 554 transaction failed: the message itself was looked at.
        (Step::Message, 550 | 552 | 554) => (GiveUp, "the mail server does not take such a message"),
        // 500 to 504, 555: the server did not understand.
        (Step::Message, _) => (RetryElsewhere, "the mail server did not understand"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_reply_has_its_meaning() {
        use Failure::{BlameNumber, GiveUp, RetryElsewhere, RetryLater};
        let table = [
            (Step::Greeting, "421 4.3.2 closing", RetryLater),
            (Step::Greeting, "554 no mail here", RetryElsewhere),
            (Step::Greeting, "521 host does not accept mail", RetryElsewhere),
            (Step::LogIn, "535 5.7.8 bad", RetryElsewhere),
            (Step::LogIn, "535 bad", RetryElsewhere),
            (Step::LogIn, "534 5.7.9 too weak", RetryElsewhere),
            (Step::LogIn, "454 4.7.0 later", RetryLater),
            (Step::LogIn, "504 what", RetryElsewhere),
            (Step::Sender, "530 5.7.0 log in", RetryElsewhere),
            (Step::Sender, "553 5.7.1 not yours", RetryElsewhere),
            (Step::Sender, "550 no", RetryElsewhere),
            (Step::Sender, "550 5.1.8 bad sender", RetryElsewhere),
            (Step::Sender, "452 4.3.1 full", RetryLater),
            (Step::Recipient, "550 5.1.1 no such user", BlameNumber),
            (Step::Recipient, "550 no such user", BlameNumber),
            (Step::Recipient, "551 not local", BlameNumber),
            (Step::Recipient, "553 5.1.3 bad", BlameNumber),
            (Step::Recipient, "556 5.1.10 null MX", BlameNumber),
            (Step::Recipient, "552 5.2.2 full", BlameNumber),
            (Step::Recipient, "550 5.2.1 disabled", BlameNumber),
            (Step::Recipient, "550 5.4.4 no host", BlameNumber),
            (Step::Recipient, "550 5.7.1 relaying denied", RetryElsewhere),
            (Step::Recipient, "554 5.7.1 relaying denied", RetryElsewhere),
            (Step::Recipient, "554 relaying denied", RetryElsewhere),
            (Step::Recipient, "530 5.7.0 log in", RetryElsewhere),
            (Step::Recipient, "450 4.2.0 greylisted", RetryLater),
            (Step::Recipient, "451 4.7.1 greylisted", RetryLater),
            (Step::Recipient, "452 4.5.3 too many", RetryLater),
            (Step::Message, "554 transaction failed", GiveUp),
            (Step::Message, "554 5.7.1 spam", RetryElsewhere),
            (Step::Message, "554 5.6.0 malformed", GiveUp),
            (Step::Message, "552 5.3.4 too long", GiveUp),
            (Step::Message, "552 5.2.3 too long", GiveUp),
            (Step::Message, "503 out of order", RetryElsewhere),
            (Step::Message, "451 4.3.0 later", RetryLater),
            // An enhanced code of another class than the plain one is not believed.
            (Step::Recipient, "550 4.7.1 confused", BlameNumber),
        ];
        for (step, said, expected) in table {
            let (code, words) = said.split_at(3);
            let outcome = meaning(step, code.parse().unwrap_or_default(), Enhanced::read(words));
            let Outcome::Rejected { failure, reason, retry_after: None } = outcome else { panic!("{said}") };
            assert_eq!(failure, expected, "{step:?} {said}: {reason}");
            assert!(reason.contains(code), "{reason}");
        }
    }

    proptest! {
        /// Whatever a server says, its words are not repeated.
        #[test]
        fn no_reply_is_repeated(code in 400_u16..600, words in "\\PC{0,60}", step in 0..5_usize) {
            let step = [Step::Greeting, Step::LogIn, Step::Sender, Step::Recipient, Step::Message][step];
            let Outcome::Rejected { reason, .. } = meaning(step, code, Enhanced::read(&words)) else {
                return Err(TestCaseError::fail("not rejected"));
            };
            let numbers = reason.rsplit('(').next().unwrap_or_default();
            prop_assert!(numbers.chars().all(|c| c.is_ascii_digit() || " .)".contains(c)), "{}", reason);
        }
    }
}
