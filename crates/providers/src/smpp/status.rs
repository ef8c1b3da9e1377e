//! What an SMSC's `command_status` means for the next step (SMPP 3.4, section 5.1.3; SMPP 5.0, section 4.7.6).

use std::time::Duration;

use countersign::core::outcome::{Failure, Outcome};

pub(super) const OK: u32 = 0x00;
pub(super) const INVALID_LENGTH: u32 = 0x02;
pub(super) const INVALID_COMMAND: u32 = 0x03;
pub(super) const INVALID_BIND_STATE: u32 = 0x04;
/// A temporary failure of ours: the SMSC delivers again later.
pub(super) const TRY_LATER: u32 = 0x64;

/// Too many at once: the account is told to slow down.
pub(super) const fn is_throttle(status: u32) -> bool {
    // ESME_RTHROTTLED, ESME_RMSGQFUL.
    matches!(status, 0x58 | 0x14)
}

/// What a negative answer to a message means. It is certain that nobody got it.
pub(super) fn meaning(status: u32) -> Outcome {
    use Failure::{BlameNumber, GiveUp, RetryElsewhere, RetryLater};
    let (failure, says) = match status {
        // ESME_RTHROTTLED, ESME_RMSGQFUL.
        0x58 => (RetryLater, "the gateway asks to go slower"),
        0x14 => (RetryLater, "the gateway's queue is full"),
        // ESME_RX_T_APPN: a temporary error of the receiving application.
        0x64 => (RetryLater, "the gateway cannot take it now"),
        // ESME_RINVDSTADR.
        0x0B => (BlameNumber, "the number is not valid"),
        // ESME_RX_P_APPN, ESME_RX_R_APPN: permanent, rejected; ESME_RPROHIBITED (5.0).
        0x65 | 0x66 => (GiveUp, "the gateway rejected the message for good"),
        0x101 => (GiveUp, "the gateway prohibits the message"),
        // ESME_RINVBNDSTS, ESME_RALYBND, ESME_RBINDFAIL.
        0x04 | 0x05 | 0x0D => (RetryElsewhere, "the session is not bound for this"),
        // ESME_RINVPASWD, ESME_RINVSYSID.
        0x0E => (RetryElsewhere, "the password is wrong"),
        0x0F => (RetryElsewhere, "the system_id is not known"),
        // ESME_RINVSRCADR, ESME_RINVSRCTON, ESME_RINVSRCNPI.
        0x0A | 0x48 | 0x49 => (RetryElsewhere, "the sender is not accepted"),
        // ESME_RINVDSTTON, ESME_RINVDSTNPI: of the configuration, not of the number.
        0x50 | 0x51 => (RetryElsewhere, "the destination's type of number or plan is not accepted"),
        // ESME_RINVSERTYP; ESME_RSERTYPUNAUTH, ESME_RSERTYPUNAVAIL, ESME_RSERTYPDENIED (5.0).
        0x15 | 0x100 | 0x102 | 0x103 => (RetryElsewhere, "the service_type is not accepted"),
        // ESME_RINVDCS (5.0).
        0x104 => (RetryElsewhere, "the alphabet is not accepted"),
        // ESME_RINVMSGLEN, ESME_RINVESMCLASS, ESME_RINVOPTPARSTREAM to ESME_RINVOPTPARAMVAL, ESME_RINVEXPIRY and others of form.
        0x01 | 0x02 | 0x03 | 0x06 | 0x07 | 0x43 | 0x53..=0x55 | 0x61..=0x63 | 0xC0..=0xC4 => {
            (RetryElsewhere, "the gateway does not take a message of this form")
        }
        // ESME_RSYSERR, ESME_RSUBMITFAIL, ESME_RDELIVERYFAILURE, ESME_RUNKNOWNERR: nobody knows why.
        0x08 | 0x45 | 0xFE | 0xFF => (RetryElsewhere, "the gateway failed"),
        // Reserved for vendors, and what is in no document.
        _ => (RetryElsewhere, "the gateway refused the message"),
    };
    let retry_after = is_throttle(status).then_some(Duration::from_secs(1));
    Outcome::Rejected { failure, reason: format!("{says} (0x{status:02X})"), retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_meaning() {
        use Failure::{BlameNumber, GiveUp, RetryElsewhere, RetryLater};
        let table = [
            (vec![0x58, 0x14, 0x64], RetryLater),
            (vec![0x0B], BlameNumber),
            (vec![0x65, 0x66, 0x101], GiveUp),
            (vec![0x04, 0x05, 0x0D, 0x0E, 0x0F], RetryElsewhere),
            (vec![0x0A, 0x15, 0x104, 0x43, 0x01, 0x50, 0x51], RetryElsewhere),
            (vec![0x08, 0x45, 0xFE, 0xFF], RetryElsewhere),
            (vec![0x400, 0x4FF, 0xFFFF_FFFF], RetryElsewhere),
        ];
        for (statuses, expected) in table {
            for status in statuses {
                let Outcome::Rejected { failure, reason, retry_after } = meaning(status) else { panic!("{status}") };
                assert_eq!(failure, expected, "0x{status:02X}");
                assert!(reason.ends_with(&format!("(0x{status:02X})")), "{reason}");
                assert_eq!(retry_after.is_some(), matches!(status, 0x58 | 0x14));
            }
        }
    }
}
