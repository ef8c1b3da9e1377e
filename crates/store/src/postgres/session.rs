//! A writer's connection, and what the server keeps for it: statements that it has planned once.
//!
//! Planning the statements of a batch costs the server as much as running them, so it does that once for each connection. Behind a
//! pooler that gives each transaction another connection, what was planned is elsewhere, and somebody else's statement may even bear
//! its name. So the session is marked in the transaction that plans, and each later transaction looks at the mark before anything of
//! it can be committed. Another mark, or none: nothing is done, and from then on statements are sent whole.

use std::collections::HashMap;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{join, join_all, join3};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Statement};

use super::error::Error;
use super::rows::Columns;
use super::sql::Sql;
use super::together::together;

/// A value and what it is for the server: a statement that is not planned yet must be told.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// Runs statements.
pub(super) trait Runs: Sync {
    /// For the rows.
    fn query<'a>(
        &'a self,
        statement: &'a str,
        parameters: &'a [Parameter<'a>],
    ) -> impl Future<Output = Result<Vec<Row>, Error>> + Send + 'a;

    /// For the number of rows.
    fn execute<'a>(
        &'a self,
        statement: &'a str,
        parameters: &'a [Parameter<'a>],
    ) -> impl Future<Output = Result<u64, Error>> + Send + 'a;

    fn commit(&self) -> impl Future<Output = Result<(), Error>> + Send + '_;
}

/// Each is sent whole, and planned each time.
impl Runs for Client {
    async fn query<'a>(&'a self, statement: &'a str, parameters: &'a [Parameter<'a>]) -> Result<Vec<Row>, Error> {
        self.query_typed(statement, parameters).await.map_err(Error::from)
    }

    async fn execute<'a>(&'a self, statement: &'a str, parameters: &'a [Parameter<'a>]) -> Result<u64, Error> {
        self.execute_typed(statement, parameters).await.map_err(Error::from)
    }

    async fn commit(&self) -> Result<(), Error> {
        self.batch_execute("COMMIT").await.map_err(Error::from)
    }
}

/// A connection of a writer.
pub(super) struct Session {
    client: Arc<Client>,
    planned: Option<Planned>,
}

/// Statements that write together, at most: batches are of few kinds. What comes beyond is sent whole.
const TOGETHER: usize = 64;

struct Planned {
    mark: String,
    /// By the address of their texts, which outlive every session.
    statements: HashMap<usize, Statement>,
    /// Those that were put together from several, by the addresses of these.
    together: Mutex<HashMap<Vec<usize>, Statement>>,
}

impl Planned {
    fn together(&self) -> MutexGuard<'_, HashMap<Vec<usize>, Statement>> {
        self.together.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// A session that keeps nothing.
    pub(super) const fn plain(client: Arc<Client>) -> Self {
        Self { client, planned: None }
    }

    /// A session that keeps the statements of a batch. If the server, or what is in front of it, does not want that: one that keeps
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Cut`] if the connection is lost.
    pub(super) async fn plan(client: Arc<Client>, sql: &Sql) -> Result<Self, Error> {
        let mark = mark();
        // As batches begin, so that a server that would refuse one refuses this.
        let begin = format!("{}; SELECT set_config('countersign.session', '{mark}', false)", sql.begin_planning);
        let texts = sql.of_batches();
        // One transaction, so that the mark is where the statements are.
        let prepare = join_all(texts.iter().map(|text| client.prepare(text)));
        let (begun, statements, committed) =
            join3(client.batch_execute(&begin), prepare, client.batch_execute("COMMIT")).await;
        let done = begun.and(committed);
        let statements: Result<HashMap<_, _>, _> =
            texts.iter().zip(statements).map(|(text, statement)| Ok((address(text), statement?))).collect();
        match done.and(statements) {
            Ok(statements) => {
                Ok(Self { client, planned: Some(Planned { mark, statements, together: Mutex::default() }) })
            }
            Err(error) => match Error::from(error) {
                Error::Cut(text) => Err(Error::Cut(text)),
                error => {
                    tracing::debug!(?error, "statements are not kept by the server");
                    Ok(Self::plain(client))
                }
            },
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) const fn is_plain(&self) -> bool {
        self.planned.is_none()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Begins a batch's transaction; so many places for new verifications, if they came along.
    ///
    /// # Errors
    /// [`Error::Moved`] if this is not the session that keeps the statements.
    pub(super) async fn begin(&self, sql: &Sql, new_places: i64) -> Result<Option<Vec<i64>>, Error> {
        let Some(planned) = &self.planned else {
            self.client.batch_execute(&sql.begin).await?;
            return Ok(None);
        };
        let set_up = self.planned(&sql.set_up).ok_or(Error::Forgotten)?;
        let begin = self.client.batch_execute(&sql.begin_alone);
        let (begun, said) = join(begin, self.client.query(set_up, &[&new_places])).await;
        begun?;
        // A statement of somebody else may bear the name of ours: it takes other values, or says something else.
        let said = said.map_err(|error| if wants_other_values(&error) { Error::Moved } else { error.into() })?;
        let mut columns = said.first().map(Columns::of).ok_or(Error::Moved)?;
        match columns.take::<Option<&str>>() {
            Ok(Some(mark)) if mark == planned.mark => Ok(Some(columns.take()?)),
            _ => Err(Error::Moved),
        }
    }

    /// Has the server plan what is about to be written together, if it has not yet: a round trip when such a batch comes for the first time.
    pub(super) async fn prepare_together(&self, statements: &[&str]) -> Result<(), Error> {
        let Some(planned) = self.planned.as_ref().filter(|_| statements.len() > 1) else { return Ok(()) };
        let key = addresses(statements);
        let is_known = {
            let known = planned.together();
            known.contains_key(&key) || known.len() >= TOGETHER
        };
        if !is_known {
            let statement = self.client.prepare(&together(statements)).await?;
            planned.together().insert(key, statement);
        }
        Ok(())
    }

    /// Runs statements that write as one; how many rows each of them changed.
    pub(super) async fn write(&self, statements: &[&str], parameters: &[Parameter<'_>]) -> Result<Vec<u64>, Error> {
        match statements {
            [] => return Ok(Vec::new()),
            [alone] => return Ok(vec![self.execute(alone, parameters).await?]),
            _ => {}
        }
        let known = self.planned.as_ref().and_then(|planned| planned.together().get(&addresses(statements)).cloned());
        let rows = match &known {
            Some(statement) => self.client.query(statement, &values(parameters)).await?,
            None => Runs::query(&*self.client, &together(statements), parameters).await?,
        };
        let mut columns =
            rows.first().map(Columns::of).ok_or_else(|| Error::Unreadable("nothing was counted".to_owned()))?;
        statements.iter().map(|_| columns.take::<i64>().map(i64::unsigned_abs)).collect()
    }

    fn planned(&self, statement: &str) -> Option<&Statement> {
        self.planned.as_ref()?.statements.get(&address(statement))
    }
}

impl Runs for Session {
    async fn query<'a>(&'a self, statement: &'a str, parameters: &'a [Parameter<'a>]) -> Result<Vec<Row>, Error> {
        let Some(planned) = self.planned(statement) else {
            return Runs::query(&*self.client, statement, parameters).await;
        };
        self.client.query(planned, &values(parameters)).await.map_err(Error::from)
    }

    async fn execute<'a>(&'a self, statement: &'a str, parameters: &'a [Parameter<'a>]) -> Result<u64, Error> {
        let Some(planned) = self.planned(statement) else {
            return Runs::execute(&*self.client, statement, parameters).await;
        };
        self.client.execute(planned, &values(parameters)).await.map_err(Error::from)
    }

    async fn commit(&self) -> Result<(), Error> {
        Runs::commit(&*self.client).await
    }
}

/// Whether a statement was given values that it does not take: then it is not the one that was meant.
fn wants_other_values(error: &tokio_postgres::Error) -> bool {
    let other = |state: &SqlState| *state == SqlState::PROTOCOL_VIOLATION || state.code().starts_with("22");
    error.code().is_some_and(other)
}

fn values<'a>(parameters: &[Parameter<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    parameters.iter().map(|(value, _)| *value).collect()
}

fn address(text: &str) -> usize {
    text.as_ptr() as usize
}

fn addresses(texts: &[&str]) -> Vec<usize> {
    texts.iter().map(|text| address(text)).collect()
}

/// Nobody else's: the standard library seeds each of these by chance.
fn mark() -> String {
    let word = || RandomState::new().hash_one(0_u8);
    format!("{:016x}{:016x}", word(), word())
}
