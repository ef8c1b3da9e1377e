//! What the port to a store asks, handed on: decisions to the writers, the rest to a connection, each to the file that knows its SQL.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use countersign::core::event::Event;
use countersign::core::health::HealthRow;
use countersign::core::id::{ApplicationName, DeliveryId, VerificationId};
use countersign::core::time::Timestamp;
use countersign::sender::BoxFuture;
use countersign::store::{
    AnswerKey, ApplicationRecord, Claimed, Cleaned, Job, KeptAnswer, KeyRecord, ListFilter, NewAnswer, Page, Record,
    RecordFilter, RecordName, RecordPage, Store, StoreError, StoreResult, WithDeliveries,
};
use countersign::transfer::{Dumped, Loaded, Row, RowKind};
use countersign::webhook::{Requeue, WebhookEndpoint, WebhookMessage, WebhookOutcome};
use tokio_postgres::Client;

use super::sql::Sql;
use super::{ANSWER_WITHIN, BACKGROUND_WITHIN, PostgresStore, health, one_row, read, transfer, webhook, write};

impl Store for PostgresStore {
    fn run(&self, job: Box<dyn Job>) -> BoxFuture<'_, StoreResult<()>> {
        let queued = match self.inner.pool.check() {
            Ok(()) => self.inner.waiting.add(job, ANSWER_WITHIN),
            Err(error) => Err(error.into_store_error()),
        };
        Box::pin(async move {
            queued?.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the store is closed".to_owned())))
        })
    }

    fn verification<'a>(
        &'a self,
        application: &'a ApplicationName,
        id: VerificationId,
    ) -> BoxFuture<'a, StoreResult<Option<WithDeliveries>>> {
        let application = application.clone();
        self.ask(ANSWER_WITHIN, move |client, sql| {
            let application = application.clone();
            async move {
                match &sql.one_row {
                    None => read::verification(&client, &sql, &application, id).await,
                    Some(one) => one_row::verification(&client, one, &application, id).await,
                }
            }
        })
    }

    fn verification_of<'a>(
        &'a self,
        application: &'a ApplicationName,
        delivery: DeliveryId,
    ) -> BoxFuture<'a, StoreResult<Option<WithDeliveries>>> {
        let application = application.clone();
        self.ask(ANSWER_WITHIN, move |client, sql| {
            let application = application.clone();
            async move {
                match &sql.one_row {
                    None => read::verification_of(&client, &sql, &application, delivery).await,
                    Some(one) => one_row::verification_of(&client, one, &application, delivery).await,
                }
            }
        })
    }

    fn verifications<'a>(&'a self, ids: &'a [VerificationId]) -> BoxFuture<'a, StoreResult<Vec<WithDeliveries>>> {
        let ids: Arc<[VerificationId]> = ids.into();
        self.ask(BACKGROUND_WITHIN, move |client, sql| {
            let ids = Arc::clone(&ids);
            async move {
                match &sql.one_row {
                    None => read::verifications(&client, &sql, &ids).await,
                    Some(one) => one_row::verifications(&client, one, &ids).await,
                }
            }
        })
    }

    fn list<'a>(&'a self, filter: &'a ListFilter) -> BoxFuture<'a, StoreResult<Page>> {
        let filter = filter.clone();
        self.ask(ANSWER_WITHIN, move |client, sql| {
            let filter = filter.clone();
            async move {
                match &sql.one_row {
                    None => read::list(&client, &sql, &filter).await,
                    Some(one) => one_row::list(&client, one, &filter).await,
                }
            }
        })
    }

    fn claim(&self, now: Timestamp, lease: Duration, most: usize) -> BoxFuture<'_, StoreResult<Vec<Claimed>>> {
        self.tell(ANSWER_WITHIN, move |client, sql| async move {
            // Almost always nothing is overdue: a read finds that out without a write.
            match &sql.one_row {
                None if read::has_overdue_delivery(&client, &sql, now).await? => {
                    write::claim(&client, &sql, now, lease, most).await
                }
                Some(one) if one_row::has_due(&client, one, now).await? => {
                    one_row::claim(&client, &sql, one, now, lease, most).await
                }
                _ => Ok(Vec::new()),
            }
        })
    }

    fn overdue(
        &self,
        now: Timestamp,
        most: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<(ApplicationName, VerificationId)>>> {
        Box::pin(async move {
            if self.inner.sql.one_row.is_some() {
                let ask = move |client: Arc<Client>, sql: Arc<Sql>| async move {
                    match &sql.one_row {
                        Some(one) => one_row::overdue(&client, one, now, most).await,
                        None => Ok(Vec::new()),
                    }
                };
                return self.ask(BACKGROUND_WITHIN, ask).await;
            }
            let after = *self.inner.expired_through.lock().unwrap_or_else(PoisonError::into_inner);
            let rows = self
                .ask(BACKGROUND_WITHIN, move |client, sql| async move {
                    read::overdue(&client, &sql, after, now, most).await
                })
                .await?;
            // What was found is looked for again next time, in case it could not be marked.
            let through = rows.first().map_or(now.as_millis(), |(expires_at, ..)| expires_at - 1);
            *self.inner.expired_through.lock().unwrap_or_else(PoisonError::into_inner) = through;
            Ok(rows.into_iter().map(|(_, application, id)| (application, id)).collect())
        })
    }

    fn to_follow_up(
        &self,
        now: Timestamp,
        most: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<(ApplicationName, VerificationId)>>> {
        self.ask(BACKGROUND_WITHIN, move |client, sql| async move {
            match &sql.one_row {
                None => read::to_follow_up(&client, &sql, now, most).await,
                Some(one) => one_row::to_follow_up(&client, one, now, most).await,
            }
        })
    }

    fn cleanup(
        &self,
        before: Timestamp,
        now: Timestamp,
        most: usize,
        dry_run: bool,
    ) -> BoxFuture<'_, StoreResult<Cleaned>> {
        Box::pin(async move {
            if dry_run {
                return self
                    .ask(BACKGROUND_WITHIN, move |client, sql| async move {
                        match &sql.one_row {
                            None => read::count_old(&client, &sql, before, now).await,
                            Some(one) => one_row::count_old(&client, &sql, one, before, now).await,
                        }
                    })
                    .await;
            }
            let after = self.inner.cleaned_through.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let (cleaned, next) = self
                .ask(BACKGROUND_WITHIN, move |client, sql| {
                    let after = after.clone();
                    async move {
                        match &sql.one_row {
                            None => write::cleanup(&client, &sql, before, now, most, &after).await,
                            Some(one) => one_row::cleanup(&client, &sql, one, before, now, most, &after).await,
                        }
                    }
                })
                .await?;
            *self.inner.cleaned_through.lock().unwrap_or_else(PoisonError::into_inner) = next;
            Ok(cleaned)
        })
    }

    fn events(&self, after: u64, most: usize) -> BoxFuture<'_, StoreResult<Vec<(u64, Event)>>> {
        self.ask(ANSWER_WITHIN, move |client, sql| async move {
            match &sql.one_row {
                Some(one) if !one.has_events() => Ok(Vec::new()),
                _ => read::events(&client, &sql, after, most).await,
            }
        })
    }

    fn health_position(&self) -> BoxFuture<'_, StoreResult<Option<u64>>> {
        self.ask(ANSWER_WITHIN, move |client, sql| async move {
            if sql.one_row.is_some() {
                return Ok(None);
            }
            health::position(&client, &sql).await.map(Some)
        })
    }

    fn take_up_health<'a>(
        &'a self,
        from: u64,
        through: u64,
        rows: &'a [HealthRow],
    ) -> BoxFuture<'a, StoreResult<bool>> {
        let rows: Arc<[HealthRow]> = rows.into();
        self.tell(BACKGROUND_WITHIN, move |client, sql| {
            let rows = Arc::clone(&rows);
            async move { Ok(sql.one_row.is_none() && health::take_up(&client, &sql, from, through, &rows).await?) }
        })
    }

    fn health(&self, since: Timestamp) -> BoxFuture<'_, StoreResult<Vec<HealthRow>>> {
        self.ask(ANSWER_WITHIN, move |client, sql| async move {
            if sql.one_row.is_some() {
                return Ok(Vec::new());
            }
            health::since(&client, &sql, since).await
        })
    }

    fn begin_answer<'a>(&'a self, key: &'a AnswerKey, fresh: NewAnswer) -> BoxFuture<'a, StoreResult<KeptAnswer>> {
        let key = key.clone();
        self.tell(ANSWER_WITHIN, move |client, sql| {
            let (key, fresh) = (key.clone(), fresh.clone());
            async move { write::begin_answer(&client, &sql, &key, &fresh).await }
        })
    }

    fn keep_answer<'a>(&'a self, key: &'a AnswerKey, answer: Vec<u8>) -> BoxFuture<'a, StoreResult<()>> {
        let key = key.clone();
        self.ask(ANSWER_WITHIN, move |client, sql| {
            let (key, answer) = (key.clone(), answer.clone());
            async move { write::keep_answer(&client, &sql, &key, &answer).await }
        })
    }

    fn release_answer<'a>(&'a self, key: &'a AnswerKey) -> BoxFuture<'a, StoreResult<()>> {
        let key = key.clone();
        self.ask(ANSWER_WITHIN, move |client, sql| {
            let key = key.clone();
            async move { write::release_answer(&client, &sql, &key).await }
        })
    }

    fn create_application<'a>(&'a self, application: &'a ApplicationRecord) -> BoxFuture<'a, StoreResult<bool>> {
        let application = application.clone();
        self.tell(ANSWER_WITHIN, move |client, sql| {
            let application = application.clone();
            async move { write::create_application(&client, &sql, &application).await }
        })
    }

    fn applications(&self) -> BoxFuture<'_, StoreResult<Vec<ApplicationRecord>>> {
        self.ask(ANSWER_WITHIN, move |client, sql| async move { read::applications(&client, &sql).await })
    }

    fn create_key<'a>(&'a self, key: &'a KeyRecord) -> BoxFuture<'a, StoreResult<()>> {
        let key = key.clone();
        self.tell(ANSWER_WITHIN, move |client, sql| {
            let key = key.clone();
            async move { write::create_key(&client, &sql, &key).await }
        })
    }

    fn keys<'a>(&'a self, application: &'a ApplicationName) -> BoxFuture<'a, StoreResult<Vec<KeyRecord>>> {
        let application = application.clone();
        self.ask(ANSWER_WITHIN, move |client, sql| {
            let application = application.clone();
            async move { read::keys(&client, &sql, &application).await }
        })
    }

    fn key_by_digest(&self, digest: [u8; 32]) -> BoxFuture<'_, StoreResult<Option<KeyRecord>>> {
        self.ask(ANSWER_WITHIN, move |client, sql| async move { read::key_by_digest(&client, &sql, digest).await })
    }

    fn revoke_key<'a>(&'a self, id: &'a str, now: Timestamp) -> BoxFuture<'a, StoreResult<bool>> {
        let id = id.to_owned();
        self.ask(ANSWER_WITHIN, move |client, sql| {
            let id = id.clone();
            async move { write::revoke_key(&client, &sql, &id, now).await }
        })
    }

    fn create_record<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, StoreResult<bool>> {
        let record = record.clone();
        self.tell(ANSWER_WITHIN, move |client, sql| {
            let record = record.clone();
            async move { write::create_record(&client, &sql, &record).await }
        })
    }

    fn update_record<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, StoreResult<bool>> {
        let record = record.clone();
        self.ask(ANSWER_WITHIN, move |client, sql| {
            let record = record.clone();
            async move { write::update_record(&client, &sql, &record).await }
        })
    }

    fn record<'a>(&'a self, name: &'a RecordName) -> BoxFuture<'a, StoreResult<Option<Record>>> {
        let name = name.clone();
        self.ask(ANSWER_WITHIN, move |client, sql| {
            let name = name.clone();
            async move { read::record(&client, &sql, &name).await }
        })
    }

    fn records<'a>(&'a self, filter: &'a RecordFilter) -> BoxFuture<'a, StoreResult<RecordPage>> {
        let filter = filter.clone();
        self.ask(ANSWER_WITHIN, move |client, sql| {
            let filter = filter.clone();
            async move { read::records(&client, &sql, &filter).await }
        })
    }

    fn delete_record<'a>(&'a self, name: &'a RecordName) -> BoxFuture<'a, StoreResult<bool>> {
        let name = name.clone();
        self.tell(ANSWER_WITHIN, move |client, sql| {
            let name = name.clone();
            async move { write::delete_record(&client, &sql, &name).await }
        })
    }

    fn dump<'a>(
        &'a self,
        kind: RowKind,
        after: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<Dumped>>> {
        let after = after.map(str::to_owned);
        self.ask(BACKGROUND_WITHIN, move |client, sql| {
            let after = after.clone();
            async move { transfer::dump(&client, &sql, kind, after.as_deref(), most).await }
        })
    }

    fn load(&self, rows: Vec<Row>) -> BoxFuture<'_, StoreResult<Vec<Loaded>>> {
        let rows: Arc<[Row]> = rows.into();
        Box::pin(async move {
            let loaded = self
                .tell(BACKGROUND_WITHIN, move |client, sql| {
                    let rows = Arc::clone(&rows);
                    async move { transfer::load(&client, &sql, &rows).await }
                })
                .await?;
            // What was moved here may have expired long ago.
            *self.inner.expired_through.lock().unwrap_or_else(PoisonError::into_inner) = i64::MIN;
            Ok(loaded)
        })
    }

    fn webhook_position(&self, wanted: bool) -> BoxFuture<'_, StoreResult<Option<u64>>> {
        self.ask(ANSWER_WITHIN, move |client, sql| async move { webhook::position(&client, &sql, wanted).await })
    }

    fn take_up_events<'a>(
        &'a self,
        from: u64,
        through: u64,
        messages: &'a [WebhookMessage],
    ) -> BoxFuture<'a, StoreResult<Option<u64>>> {
        let messages: Arc<[WebhookMessage]> = messages.into();
        // Done twice it is done once: the position moves only from where it was.
        self.ask(BACKGROUND_WITHIN, move |client, sql| {
            let messages = Arc::clone(&messages);
            async move { webhook::take_up(&client, &sql, from, through, &messages).await }
        })
    }

    fn claim_webhooks<'a>(
        &'a self,
        endpoint: &'a str,
        now: Timestamp,
        lease: Duration,
        most: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<WebhookMessage>>> {
        let endpoint = endpoint.to_owned();
        self.tell(ANSWER_WITHIN, move |client, sql| {
            let endpoint = endpoint.clone();
            async move {
                if !webhook::is_due(&client, &sql, &endpoint, now).await? {
                    return Ok(Vec::new());
                }
                webhook::claim(&client, &sql, &endpoint, now, lease, most).await
            }
        })
    }

    fn settle_webhook<'a>(
        &'a self,
        message: &'a WebhookMessage,
        outcome: &'a WebhookOutcome,
        now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        let (message, outcome) = (message.clone(), outcome.clone());
        self.tell(ANSWER_WITHIN, move |client, sql| {
            let (message, outcome) = (message.clone(), outcome.clone());
            async move { webhook::settle(&client, &sql, &message, &outcome, now).await }
        })
    }

    fn requeue_webhooks<'a>(
        &'a self,
        endpoints: &'a [String],
        which: &'a Requeue,
        now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<u64>> {
        let (endpoints, which) = (endpoints.to_vec(), which.clone());
        self.tell(BACKGROUND_WITHIN, move |client, sql| {
            let (endpoints, which) = (endpoints.clone(), which.clone());
            async move { webhook::requeue(&client, &sql, &endpoints, &which, now).await }
        })
    }

    fn webhook_endpoints(&self) -> BoxFuture<'_, StoreResult<Vec<WebhookEndpoint>>> {
        self.ask(BACKGROUND_WITHIN, move |client, sql| async move { webhook::endpoints(&client, &sql).await })
    }

    fn ping(&self) -> BoxFuture<'_, StoreResult<()>> {
        self.ask(Duration::from_millis(900), move |client, _| async move { read::ping(&client).await })
    }

    fn close(&self) -> BoxFuture<'_, StoreResult<()>> {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(stop);
        Box::pin(async move {
            let Some(ended) = ended else { return Ok(()) };
            match ended.await {
                Ok(()) => Ok(()),
                Err(_) => Err(StoreError::Unavailable("the store's thread did not end cleanly".to_owned())),
            }
        })
    }
}
