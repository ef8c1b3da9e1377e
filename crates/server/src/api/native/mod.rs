//! The native API: `/v1/verifications`, `/v1/tokens`.

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::service::Shared;

pub mod cancel;
pub mod check;
pub mod check_by_destination;
pub mod client;
pub mod get;
pub mod list;
pub mod object;
pub mod redeem;
pub mod resend;
pub mod send;

/// Its paths.
pub(crate) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(send::send, list::list))
        .routes(routes!(get::get))
        .routes(routes!(check_by_destination::check_by_destination))
        .routes(routes!(check::check))
        .routes(routes!(resend::resend))
        .routes(routes!(cancel::cancel))
        .routes(routes!(redeem::redeem))
}
