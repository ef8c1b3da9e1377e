//! A code is checked: decide in the store, and answer only when that is durable.

use countersign_core::check::{Against, Check, Checked};
use countersign_core::code::Code;
use countersign_core::id::{ApplicationName, ServiceId, VerificationId};
use countersign_core::refusal::Refusal;
use countersign_core::verification::{By, Payment};

use crate::observe::Observation;
use crate::send::{read_destination, read_purpose};
use crate::store;
use crate::verifier::{Broken, Failure, Verifier};

/// Offers a code.
///
/// ```
/// use countersign::CheckRequest;
/// let request = CheckRequest::by_destination("+255694230173", "123456").purpose("login");
/// ```
pub struct CheckRequest {
    application: ApplicationName,
    target: Target,
    code: Option<Code>,
    holder: bool,
    payment: Option<Payment>,
    client: Option<String>,
}

enum Target {
    Id(VerificationId, Option<Option<ServiceId>>),
    Destination { service: Option<ServiceId>, to: String, purpose: Option<String>, shown: [Option<VerificationId>; 2] },
}

impl CheckRequest {
    /// Against a verification whose id the caller holds.
    #[must_use]
    pub fn by_id(id: VerificationId, code: &str) -> Self {
        Self::new(Target::Id(id, None), code)
    }

    /// Against whatever is pending for a destination.
    #[must_use]
    pub fn by_destination(to: impl Into<String>, code: &str) -> Self {
        Self::new(Target::Destination { service: None, to: to.into(), purpose: None, shown: [None; 2] }, code)
    }

    fn new(target: Target, code: &str) -> Self {
        Self {
            application: ApplicationName::default(),
            target,
            code: code.parse().ok(),
            holder: false,
            payment: None,
            client: None,
        }
    }

    /// Of this application rather than `default`.
    #[must_use]
    pub fn application(mut self, name: ApplicationName) -> Self {
        self.application = name;
        self
    }

    /// For this purpose rather than `login`; only for checks by destination, an id has one.
    #[must_use]
    pub fn purpose(mut self, wanted: impl Into<String>) -> Self {
        if let Target::Destination { purpose, .. } = &mut self.target {
            *purpose = Some(wanted.into());
        }
        self
    }

    /// In this service of the application rather than its own; only for checks by destination, an id has one.
    #[must_use]
    pub const fn service(mut self, wanted: ServiceId) -> Self {
        if let Target::Destination { service, .. } = &mut self.target {
            *service = Some(wanted);
        }
        self
    }

    /// Only of this service, `None` being the application's own: a verification of another one is as if there were none.
    #[must_use]
    pub const fn of_service(mut self, wanted: Option<ServiceId>) -> Self {
        match &mut self.target {
            Target::Id(_, service) => *service = Some(wanted),
            Target::Destination { service, .. } => *service = wanted,
        }
        self
    }

    /// By a door that knows its caller as well as if they held the id: the guess counts as one by id, also by destination.
    #[must_use]
    pub const fn as_holder(mut self) -> Self {
        self.holder = true;
        self
    }

    /// By somebody who shows these ids; only for checks by destination. If one of them is that of what is pending, the guess counts as
    /// one by who holds it.
    #[must_use]
    pub const fn showing(mut self, ids: [Option<VerificationId>; 2]) -> Self {
        if let Target::Destination { shown, .. } = &mut self.target {
            *shown = ids;
        }
        self
    }

    /// Confirming this payment. A verification of another payment does not match, whatever the code.
    #[must_use]
    pub fn payment(mut self, payment: Payment) -> Self {
        self.payment = Some(payment);
        self
    }

    /// By an end user at this address, counted by the client limits.
    #[must_use]
    pub fn client(mut self, client: impl Into<String>) -> Self {
        self.client = Some(client.into());
        self
    }
}

impl std::fmt::Debug for CheckRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckRequest").field("application", &self.application).finish_non_exhaustive()
    }
}

impl Verifier {
    /// Checks a code. When this returns, the guess is counted or the verification consumed, durably.
    ///
    /// # Errors
    /// [`Failure::Refused`] for a code that is not 4 to 10 digits, an id that this application does not have, or a used-up limit;
    /// [`Failure::Broken`] if the store is unavailable: then nothing was evaluated.
    pub async fn check(&self, request: CheckRequest) -> Result<Checked, Failure> {
        self.open()?;
        let application = self.application(&request.application)?;
        let name = application.name.clone();
        let refused = |refusal| self.refused(name.as_str(), refusal);
        let (against, by) = match request.target {
            Target::Id(id, None) => (Against::Id(id), By::Id),
            Target::Id(id, Some(service)) => (Against::IdOf(id, service), By::Id),
            Target::Destination { service, to, purpose, shown } => {
                let to = read_destination(&application, &to).map_err(refused)?;
                let purpose = read_purpose(purpose.as_deref()).map_err(refused)?;
                (
                    Against::Destination { service, to, purpose, shown },
                    if request.holder { By::Id } else { By::Destination },
                )
            }
        };
        let not_a_code =
            || Refusal::InvalidRequest { param: "code", detail: "must be a string of 4 to 10 digits".to_owned() };
        let code = request.code.ok_or_else(|| refused(not_a_code()))?;
        let keys = self.keys();
        let (payment, client, now) = (request.payment, request.client, self.now());
        let decision = Check { application, keys, against, by, code, payment, client, now };
        let answer = store::ask(&*self.inner.store, decision).await?.map_err(Broken::Keys)?;
        let checked = answer.map_err(refused)?;
        self.inner.observer.observe(Observation::Checked { application: name.as_str(), result: checked.result });
        Ok(checked)
    }
}
