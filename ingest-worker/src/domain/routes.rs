//! The routing table: one row per event type. A row determines the topics to subscribe to, the
//! settings that rename them, and how the payload is read.

use std::collections::HashMap;

use clap::ValueEnum;
use serde_json::value::RawValue;
use shared::{
    envelope,
    events::{Subject, Topic, batch, class, essay, file, matching, results, teacher, usable_id},
    metrics::Label,
    notification::{EventData, Notification, NotificationSchema, SchemaGenerator},
    time::Timestamp,
};

use super::record::{DeadLetterReason, IgnoreReason, Rejection};
use crate::notification::Notify;

/// Which events the worker subscribes to where services report the same fact twice: as a domain
/// event and as a request for a teacher notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum NotificationSource {
    /// The domain events.
    Domain,
    /// The teacher notifications, and the domain events that have none.
    Teacher,
    /// Both; users may be notified twice of one fact.
    Both,
}

/// A row of the routing table: how one event type becomes a notification.
#[derive(Debug)]
pub struct Route {
    /// The event type; the label of its metrics.
    pub(crate) event_type: &'static str,
    /// Other spellings of the type.
    pub(crate) aliases: &'static [&'static str],
    /// The topic that a deployment may rename.
    pub topic: Topic,
    /// Further topics that carry the type.
    pub(crate) other_topics: &'static [&'static str],
    reported_by: ReportedBy,
    /// Parses the payload of an event that happened at the given time.
    pub(super) parse: fn(&RawValue, Timestamp) -> Result<ParsedPayload, Rejection>,
    /// Describes the notification, for schemas.
    pub schema: fn(&mut SchemaGenerator) -> Option<NotificationSchema>,
}

/// The events that report the facts of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReportedBy {
    /// This event only.
    Event,
    /// This event, and also requests for a teacher notification.
    EventAndRequest,
    /// Requests for a teacher notification; the route is theirs.
    Request,
}

/// The content of a payload.
#[derive(Debug)]
pub(super) struct ParsedPayload {
    /// The batch that the event is about.
    pub(super) batch: Option<String>,
    /// The class that the event is about.
    pub(super) class: Option<String>,
    /// `None` if the event is by rule no notification.
    pub(super) notification: Option<Notification>,
}

/// The routing table.
pub static ROUTES: &[Route] = &[
    Route::of::<file::BatchFileAddedV1>().also_as_teacher_notification(),
    Route::of::<file::BatchFileRemovedV1>().also_as_teacher_notification(),
    Route::of::<batch::BatchEssaysReadyV1>(),
    Route::of::<batch::BatchValidationErrorsV1>(),
    Route::of::<batch::BatchContentProvisioningCompletedV1>(),
    Route::of::<matching::BatchAuthorMatchesSuggestedV1>(),
    Route::of::<matching::StudentAssociationsConfirmedV1>(),
    Route::of::<matching::ValidationTimeoutProcessedV1>(),
    Route::of::<results::CjAssessmentCompletedV1>().also_as_teacher_notification(),
    Route::of::<results::CjAssessmentFailedV1>(),
    Route::of::<results::SpellcheckCompletedV1>(),
    Route::of::<batch::ElsBatchPhaseOutcomeV1>().also_as_teacher_notification(),
    Route::of::<essay::EssayContentProvisionedV1>(),
    Route::of::<essay::EssayValidationFailedV1>().also_as_teacher_notification(),
    Route::of::<class::ClassCreatedV1>().also_as_teacher_notification(),
    Route::of::<class::StudentCreatedV1>().also_as_teacher_notification(),
    Route::of::<essay::EssayStudentAssociationUpdatedV1>(),
    Route::of::<teacher::TeacherNotificationRequestedV1>().only_as_teacher_notification(),
    Route::of::<batch::BatchEssaysRegisteredV1>(),
];

/// The event type of a record's route: a metric label, never a producer's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoutedType(Option<&'static Route>);

impl RoutedType {
    /// The label of records without a route.
    pub(crate) const UNROUTED: Self = Self(None);

    /// Returns the event type, or `unrouted`.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        self.0.map_or("unrouted", |route| route.event_type)
    }
}

impl From<&'static Route> for RoutedType {
    fn from(route: &'static Route) -> Self {
        Self(Some(route))
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Route {}

impl Label for RoutedType {
    const COUNT: usize = ROUTES.len() + 1;

    fn keys() -> Vec<&'static str> {
        vec!["event_type"]
    }

    fn all() -> Vec<Self> {
        ROUTES.iter().map(Self::from).chain([Self::UNROUTED]).collect()
    }

    fn index(self) -> usize {
        let at = |route| ROUTES.iter().position(|other| other == route);
        self.0.and_then(at).unwrap_or(ROUTES.len())
    }

    fn values(self) -> Vec<&'static str> {
        vec![self.name()]
    }
}

impl Route {
    const fn of<E: Notify>() -> Self {
        Self {
            event_type: E::TYPE,
            aliases: E::ALIASES,
            topic: E::TOPIC,
            other_topics: E::OTHER_TOPICS,
            reported_by: ReportedBy::Event,
            parse: parse::<E>,
            schema: E::Data::schema,
        }
    }

    const fn also_as_teacher_notification(self) -> Self {
        Self { reported_by: ReportedBy::EventAndRequest, ..self }
    }

    const fn only_as_teacher_notification(self) -> Self {
        Self { reported_by: ReportedBy::Request, ..self }
    }

    fn is_used(&self, source: NotificationSource) -> bool {
        match source {
            NotificationSource::Both => true,
            NotificationSource::Domain => self.reported_by != ReportedBy::Request,
            NotificationSource::Teacher => self.reported_by != ReportedBy::EventAndRequest,
        }
    }
}

fn parse<E: Notify>(data: &RawValue, at: Timestamp) -> Result<ParsedPayload, Rejection> {
    let event: E = serde_json::from_str(data.get()).map_err(|error| {
        DeadLetterReason::Malformed
            .with_detail(format!("payload: {}", envelope::describe_json_error(&error)))
    })?;
    let subject: Subject<'_> = event.subject();
    if !subject.has_id() {
        return Err(DeadLetterReason::Malformed
            .with_detail("payload: names no batch, class, essay or student"));
    }
    let batch = usable_id(subject.batch).map(str::to_owned);
    let class = usable_id(subject.class).map(str::to_owned);
    Ok(ParsedPayload { batch, class, notification: event.notify(at) })
}

/// The routes by event type and by topic.
#[derive(Debug)]
pub struct Routes {
    /// All known types and aliases, with whether `NOTIFICATION_SOURCE` selects them.
    by_type: HashMap<&'static str, (&'static Route, bool)>,
    /// `None` where several event types share a topic, which then does not identify one.
    by_topic: HashMap<String, Option<&'static Route>>,
}

impl Routes {
    /// The routes for `source`; `topic_name` returns a topic's name in this deployment.
    #[must_use]
    pub fn new(source: NotificationSource, topic_name: impl Fn(Topic) -> String) -> Self {
        let mut routes = Self { by_type: HashMap::new(), by_topic: HashMap::new() };
        for route in ROUTES {
            let is_used = route.is_used(source);
            for name in std::iter::once(&route.event_type).chain(route.aliases) {
                routes.by_type.insert(name, (route, is_used));
            }
            if !is_used {
                continue;
            }
            let mut topics = vec![topic_name(route.topic)];
            topics.extend(route.other_topics.iter().map(|topic| (*topic).to_owned()));
            topics.sort_unstable();
            topics.dedup();
            for topic in topics {
                routes
                    .by_topic
                    .entry(topic)
                    .and_modify(|shared| *shared = None)
                    .or_insert(Some(route));
            }
        }
        routes
    }

    /// Returns the route of an event: that of its type or alias, or that of its topic if the type
    /// is unknown.
    ///
    /// # Errors
    /// Why the event is ignored, if it has no route.
    pub(super) fn find(
        &self,
        event_type: &str,
        topic: &str,
    ) -> Result<&'static Route, IgnoreReason> {
        match self.by_type.get(event_type) {
            Some((route, true)) => Ok(route),
            Some((_, false)) => Err(IgnoreReason::OtherSource),
            None => self.by_topic.get(topic).copied().flatten().ok_or(IgnoreReason::NoRoute),
        }
    }

    /// Returns all topics to subscribe to.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &str> {
        self.by_topic.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests;
