//! What ends soon, told while there is time to renew it.

use super::certificate::{parse, text};
use super::{Credentials, TlsError};
use rustls::pki_types::CertificateDer;
use std::path::Path;
use time::{Duration, OffsetDateTime};

/// From so long before its end on, a certificate is warned of.
pub const ENDS_SOON: Duration = Duration::days(30);
/// From so long before its end on, that is an error.
pub const ENDS_VERY_SOON: Duration = Duration::days(7);

/// The end of a certificate that a node depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Which certificate, and what to do about it.
    what: String,
    remedy: &'static str,
    at: OffsetDateTime,
}

impl Ending {
    /// The end of the own certificate.
    pub(super) fn of_own(path: &Path, at: OffsetDateTime) -> Self {
        let remedy = "renew it with: jobraft certs renew";
        Self { what: format!("the certificate {}", path.display()), remedy, at }
    }

    /// The end of an authority.
    pub(super) fn of_authority(path: &Path, der: &CertificateDer<'_>) -> Result<Self, TlsError> {
        let certificate = parse(path, der)?;
        let what = format!("the authority {} in {}", certificate.subject(), path.display());
        let remedy = "replace it by a new one, step by step as the chapter on certificates says, or remove it if nothing uses it";
        Ok(Self { what, remedy, at: certificate.validity().not_after.to_datetime() })
    }

    const fn ends_within(&self, time: Duration, now: OffsetDateTime) -> bool {
        self.at.unix_timestamp() - now.unix_timestamp() < time.whole_seconds()
    }

    fn tell(&self, now: OffsetDateTime) {
        let (what, remedy, until) = (&self.what, self.remedy, text(self.at));
        let verb = if self.at < now { "ended" } else { "ends" };
        if self.ends_within(ENDS_VERY_SOON, now) {
            tracing::error!("{what} {verb} on {until}; {remedy}");
        } else if self.ends_within(ENDS_SOON, now) {
            tracing::warn!("{what} {verb} on {until}; {remedy}");
        }
    }
}

impl Credentials {
    /// Tells the log what ends soon, and which lists of revoked certificates concern nobody.
    pub(crate) fn tell(&self) {
        let now = OffsetDateTime::now_utc();
        for ending in self.endings() {
            ending.tell(now);
        }
        for authority in self.revocations().unknown() {
            tracing::warn!(
                "there is a list of revoked certificates of {authority}, whom this node does not trust; remove it, or name that authority in the file of authorities"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_near_from_its_bound_on_and_ever_after() {
        let now = OffsetDateTime::now_utc();
        let near = |left| Ending::of_own(Path::new("node-1.crt"), now + left).ends_within(ENDS_SOON, now);
        assert!(!near(ENDS_SOON + Duration::MINUTE));
        assert!(near(ENDS_SOON - Duration::MINUTE));
        assert!(near(-Duration::DAY));
    }
}
