//! The end user behind a request, as the application states it.

use std::net::IpAddr;

use serde::Deserialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AnyOfBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};

use crate::http::client_address::client_key;
use crate::http::json::Fields;
use crate::http::problem::Problem;

/// The end user. Only the address counts, for the `client` limits; the rest is taken for what may come.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(example = json!({"ip": "198.51.100.7"}))]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The end user's address. Without it no client limit applies; an IPv6 address counts as its /64.
    #[schema(schema_with = ip_schema, required = false)]
    pub ip: Option<String>,
    /// The end user's browser or app.
    #[schema(nullable = false)]
    pub user_agent: Option<String>,
    /// The application's name for the end user's device.
    #[schema(nullable = false)]
    pub device_id: Option<String>,
}

fn ip_schema() -> Schema {
    let text = |format| ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(format)));
    let what = "The end user's address. Without it no client limit applies; an IPv6 address counts as its /64.";
    let either = AnyOfBuilder::new().item(text(KnownFormat::Ipv4)).item(text(KnownFormat::Ipv6));
    either.description(Some(what)).build().into()
}

const FIELDS: [&str; 3] = ["ip", "user_agent", "device_id"];

/// Reads `client`; the key that its limits count by.
///
/// # Errors
/// What is wrong with it, by field.
pub fn read(fields: &mut Fields) -> Result<Option<String>, Problem> {
    let Some(mut client) = fields.object("client", &FIELDS)? else { return Ok(None) };
    let stated = Client {
        ip: client.string("ip")?,
        user_agent: client.string("user_agent")?,
        device_id: client.string("device_id")?,
    };
    let Some(ip) = stated.ip else { return Ok(None) };
    let address: IpAddr = ip.parse().map_err(|_| Problem::invalid("client.ip", "must be an IPv4 or IPv6 address"))?;
    Ok(Some(client_key(address)))
}
