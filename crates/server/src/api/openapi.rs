//! The OpenAPI document: made from the calls' own documentation, and what is true of all of them.

use axum::body::Bytes;
use countersign::core::verification::Status;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{Object, Schema, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, Ref, RefOr, ResponseBuilder, ServerBuilder,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use crate::http::problem::{Kind, Problem, ProblemBody};
use crate::http::router;

/// The document of this version, with the dialects at their default prefixes.
#[must_use]
pub fn openapi() -> OpenApi {
    router::document()
}

/// The document as the server at this address gives it.
pub(crate) fn served_at(document: &mut OpenApi, public_url: &str) {
    document.servers = Some(vec![ServerBuilder::new().url(public_url).build()]);
}

/// Adds the calls of the dialects that are served, and what is true of all.
pub(crate) fn describe(document: &mut OpenApi, simple: Option<OpenApi>, camara: Option<OpenApi>) {
    let (speaks_simple, speaks_camara) = (simple.is_some(), camara.is_some());
    for dialect in [simple, camara].into_iter().flatten() {
        document.merge(dialect);
    }
    document.info = InfoBuilder::new()
        .title("Countersign")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Proves that a person controls a phone number or an email address: sends a one-time code, checks what comes back, once. \
             Under `/v2` the server speaks Twilio Verify v2 too, which Twilio's own specification describes; what differs is in \
             docs/leaving-twilio-verify.md.",
        ))
        .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0")).build()))
        .build();
    document.tags = Some(
        [
            ("verifications", "Codes are sent and checked. For back ends, with an API key."),
            ("tokens", "The proof that an approval gives, taken in once."),
            ("simple", "Three calls that a browser or a mobile app can make, without a key."),
            ("camara", "CAMARA OneTimePasswordSMS v1 (GSMA Open Gateway), with an API key as the access token."),
            ("receipts", "Gateways report what became of a message."),
            ("operation", "Keys, health, metrics and this document."),
        ]
        .map(|(name, text)| TagBuilder::new().name(name).description(Some(text)).build())
        .into(),
    );
    let key = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("API key")
        .description(Some("An application's key: `countersign key create APP`"));
    let components = document.components.take().unwrap_or_else(|| ComponentsBuilder::new().build());
    let mut components = ComponentsBuilder::from(components)
        .security_scheme("api_key", SecurityScheme::Http(key.build()))
        .schema(ProblemBody::name(), ProblemBody::schema())
        .build();
    components.responses.insert("Problem".to_owned(), problem_response().into());
    if speaks_simple {
        components.responses.insert("SimpleRefusal".to_owned(), refusal_of("SimpleRefusal").into());
    }
    if speaks_camara {
        components.responses.insert("CamaraRefusal".to_owned(), refusal_of("CamaraRefusal").into());
    }
    components.schemas.values_mut().for_each(mend);
    document.components = Some(components);
    for item in document.paths.paths.values_mut() {
        let all = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete, &mut item.patch];
        for operation in all.into_iter().flatten() {
            add_default(operation);
            tidy(operation);
        }
    }
}

/// Every refusal that a call does not list has the shape of its dialect: said once, as the default.
fn add_default(operation: &mut Operation) {
    let is_of = |dialect| operation.tags.as_ref().is_some_and(|tags| tags.iter().any(|tag| tag == dialect));
    let name = match (is_of("simple"), is_of("camara")) {
        (true, _) => "SimpleRefusal",
        (_, true) => "CamaraRefusal",
        _ => "Problem",
    };
    operation.responses.responses.insert("default".to_owned(), RefOr::Ref(Ref::from_response_name(name)));
}

/// A parameter or a body that may be left out cannot therefore be `null`, which is how an `Option` is described.
fn tidy(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && let Some(RefOr::T(Schema::Object(object))) = &mut parameter.schema
        {
            if let SchemaType::Array(types) = &object.schema_type
                && let Some(only) = types.iter().find(|kind| **kind != Type::Null)
            {
                object.schema_type = SchemaType::Type(only.clone());
            }
            narrow(&parameter.name, object);
        }
    }
    let Some(RefOr::T(body)) = &mut operation.request_body else { return };
    for content in body.content.values_mut() {
        if let RefOr::T(content) = content
            && let Some(RefOr::T(Schema::OneOf(either))) = &content.schema
            && let Some(body) = either.items.iter().find(|item| matches!(item, RefOr::Ref(_)))
        {
            content.schema = Some(body.clone());
        }
    }
}

/// A word of a list that has a description of its own is described as all of the list and of an object, which nothing is. Meant is the
/// list, with that description.
fn mend(schema: &mut RefOr<Schema>) {
    let RefOr::T(schema) = schema else { return };
    match schema {
        Schema::Object(object) => object.properties.values_mut().for_each(mend),
        Schema::AllOf(all) => {
            if let [RefOr::T(Schema::Object(list)), RefOr::T(Schema::Object(told))] = all.items.as_slice()
                && list.enum_values.is_some()
                && told.properties.is_empty()
            {
                let mut list = list.clone();
                list.description.clone_from(&told.description);
                *schema = Schema::Object(list);
            }
        }
        _ => {}
    }
}

/// What parameters may be, where that can be said as a pattern.
fn narrow(name: &str, object: &mut Object) {
    match name {
        "Idempotency-Key" => {
            // Printable ASCII; one that begins with a quotation mark is read as a structured field.
            object.pattern = Some("^[!#-~]([ -~]{0,253}[!-~])?$".to_owned());
            (object.min_length, object.max_length) = (Some(1), Some(255));
        }
        "x-correlator" => object.pattern = Some("^[a-zA-Z0-9_:;./<>{}-]{0,256}$".to_owned()),
        "cursor" => object.pattern = Some("^AQ[A-Za-z0-9_-]{10}$".to_owned()),
        "purpose" => object.pattern = Some("^[A-Za-z0-9_-]{1,32}$".to_owned()),
        "status" => object.enum_values = Some(Status::ALL.map(|status| status.as_str().into()).into()),
        _ => {}
    }
}

fn refusal_of(dialect: &str) -> utoipa::openapi::Response {
    ResponseBuilder::new()
        .description("A refusal in the words of this dialect.")
        .content("application/json", ContentBuilder::new().schema(Some(Ref::from_schema_name(dialect))).build())
        .build()
}

fn problem_response() -> utoipa::openapi::Response {
    let codes: Vec<_> = Kind::ALL.iter().map(|kind| format!("{} `{}`", kind.row().0, kind.code())).collect();
    let example = serde_json::from_slice::<serde_json::Value>(
        Problem::invalid("to", "must be given, as a string").answer().body(),
    );
    ResponseBuilder::new()
        .description(format!("A problem (RFC 9457). The codes: {}.", codes.join(", ")))
        .content(
            "application/problem+json",
            ContentBuilder::new()
                .schema(Some(Ref::from_schema_name(ProblemBody::name())))
                .example(example.ok())
                .build(),
        )
        .build()
}

/// The document as bytes.
pub(crate) fn bytes(document: &OpenApi) -> Bytes {
    document.to_json().unwrap_or_default().into()
}
