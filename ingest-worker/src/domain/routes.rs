//! The routing table: one row per event type. Everything else about a type follows from its row:
//! the topics to subscribe to, the settings that rename them, the way its payload is read.

use std::collections::HashMap;

use clap::ValueEnum;
use serde_json::value::RawValue;
use shared::{
    envelope,
    events::{Subject, Topic, batch, class, essay, file, matching, results, teacher, usable},
    metrics::Label,
    notification::{Described, Description, Notification, SchemaGenerator},
    time::Timestamp,
};

use super::record::{Reason, Rejection};
use crate::notification::Notify;

/// Which of the two ways to learn of a fact the worker subscribes to: some services report it
/// both as an event and as a request for a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum NotificationSource {
    /// The events.
    Domain,
    /// The requests, and the events that no request repeats.
    Teacher,
    /// Both: users may be told twice.
    Both,
}

/// How one event type becomes a notification.
#[derive(Debug)]
pub struct Route {
    /// The event type; the label of its metrics.
    pub event_type: &'static str,
    /// Other spellings of the type.
    pub aliases: &'static [&'static str],
    /// The topic that a deployment may rename.
    pub topic: Topic,
    /// Further topics that carry the type.
    pub other_topics: &'static [&'static str],
    told_by: ToldBy,
    /// Reads a payload of an event that happened at the given time.
    pub read: fn(&RawValue, Timestamp) -> Result<Reading, Rejection>,
    /// Says for schemas what a browser receives.
    pub describe: fn(&mut SchemaGenerator) -> Option<Description>,
}

/// Who else tells the facts of an event type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ToldBy {
    /// Nobody.
    Event,
    /// Requests for a notification tell them too.
    EventAndRequest,
    /// It is such a request.
    Request,
}

/// What a payload says.
#[derive(Debug)]
pub struct Reading {
    /// The batch it is about.
    pub batch: Option<String>,
    /// The class it is about.
    pub class: Option<String>,
    /// What to tell, unless it is by rule no notification.
    pub notification: Option<Notification>,
}

/// Every event type that this service knows.
pub static ROUTES: [Route; 19] = [
    Route::to::<file::BatchFileAddedV1>().also_requested(),
    Route::to::<file::BatchFileRemovedV1>().also_requested(),
    Route::to::<batch::BatchEssaysReadyV1>(),
    Route::to::<batch::BatchValidationErrorsV1>(),
    Route::to::<batch::BatchContentProvisioningCompletedV1>(),
    Route::to::<matching::BatchAuthorMatchesSuggestedV1>(),
    Route::to::<matching::StudentAssociationsConfirmedV1>(),
    Route::to::<matching::ValidationTimeoutProcessedV1>(),
    Route::to::<results::CjAssessmentCompletedV1>().also_requested(),
    Route::to::<results::CjAssessmentFailedV1>(),
    Route::to::<results::SpellcheckCompletedV1>(),
    Route::to::<batch::ElsBatchPhaseOutcomeV1>().also_requested(),
    Route::to::<essay::EssayContentProvisionedV1>(),
    Route::to::<essay::EssayValidationFailedV1>().also_requested(),
    Route::to::<class::ClassCreatedV1>().also_requested(),
    Route::to::<class::StudentCreatedV1>().also_requested(),
    Route::to::<essay::EssayStudentAssociationUpdatedV1>(),
    Route::to::<teacher::TeacherNotificationRequestedV1>().only_requested(),
    Route::to::<batch::BatchEssaysRegisteredV1>(),
];

/// The type of a record, as far as this service knows it; a label. Never a producer's own text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutedType(Option<&'static Route>);

impl RoutedType {
    /// That of a record without a route.
    pub const UNROUTED: Self = Self(None);

    /// Its name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
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

    fn place(self) -> usize {
        let at = |route| ROUTES.iter().position(|other| other == route);
        self.0.and_then(at).unwrap_or(ROUTES.len())
    }

    fn values(self) -> Vec<&'static str> {
        vec![self.name()]
    }
}

impl Route {
    const fn to<E: Notify>() -> Self {
        Self {
            event_type: E::TYPE,
            aliases: E::ALIASES,
            topic: E::TOPIC,
            other_topics: E::OTHER_TOPICS,
            told_by: ToldBy::Event,
            read: read::<E>,
            describe: E::Data::describe,
        }
    }

    const fn also_requested(self) -> Self {
        Self { told_by: ToldBy::EventAndRequest, ..self }
    }

    const fn only_requested(self) -> Self {
        Self { told_by: ToldBy::Request, ..self }
    }

    fn is_wanted(&self, source: NotificationSource) -> bool {
        match source {
            NotificationSource::Both => true,
            NotificationSource::Domain => self.told_by != ToldBy::Request,
            NotificationSource::Teacher => self.told_by != ToldBy::EventAndRequest,
        }
    }
}

fn read<E: Notify>(data: &RawValue, at: Timestamp) -> Result<Reading, Rejection> {
    let event: E = serde_json::from_str(data.get()).map_err(|error| {
        Reason::Malformed.at(format!("payload: {}", envelope::describe(&error)))
    })?;
    let subject: Subject<'_> = event.subject();
    if !subject.is_named() {
        return Err(Reason::Malformed.at("payload: names no batch, class, essay or student"));
    }
    let batch = usable(subject.batch).map(str::to_owned);
    let class = usable(subject.class).map(str::to_owned);
    Ok(Reading { batch, class, notification: event.notify(at) })
}

/// The routes that are in use, found by what a record says of itself.
#[derive(Debug)]
pub struct Routes {
    by_type: HashMap<&'static str, &'static Route>,
    /// `None` where several types share a topic, which then says nothing about the type.
    by_topic: HashMap<String, Option<&'static Route>>,
}

impl Routes {
    /// The routes for `source`, their topics named by `rename`, which is asked with the setting
    /// of each.
    #[must_use]
    pub fn new(source: NotificationSource, rename: impl Fn(Topic) -> String) -> Self {
        let mut routes = Self { by_type: HashMap::new(), by_topic: HashMap::new() };
        for route in ROUTES.iter().filter(|route| route.is_wanted(source)) {
            for name in std::iter::once(&route.event_type).chain(route.aliases) {
                routes.by_type.insert(name, route);
            }
            let mut topics = vec![rename(route.topic)];
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

    /// The route of an event: by its type or an alias of it, else by its topic.
    #[must_use]
    pub fn find(&self, event_type: &str, topic: &str) -> Option<&'static Route> {
        let by_topic = || self.by_topic.get(topic).copied().flatten();
        self.by_type.get(event_type).copied().or_else(by_topic)
    }

    /// Every topic to subscribe to.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.by_topic.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(source: NotificationSource) -> Routes {
        Routes::new(source, |topic| topic.default.to_owned())
    }

    #[test]
    fn a_type_wins_over_its_alias_over_the_topic() {
        let routes = routes(NotificationSource::Domain);
        let found = |event_type, topic| routes.find(event_type, topic).map(|r| r.event_type);
        let failed = Some("huleedu.cj_assessment.failed.v1");
        assert_eq!(found("huleedu.cj_assessment.failed.v1", "huleedu.class.created.v1"), failed);
        assert_eq!(found("cj_assessment.failed.v1", "any"), failed);
        assert_eq!(found("never.heard.of", "huleedu.cj_assessment.failed.v1"), failed);
        assert_eq!(found("never.heard.of", "nor.of.this"), None);
    }

    #[test]
    fn a_topic_that_several_types_share_routes_by_type_only() {
        let routes = Routes::new(NotificationSource::Both, |_| "everything".to_owned());
        assert!(routes.find("never.heard.of", "everything").is_none());
        assert!(routes.find("huleedu.class.created.v1", "everything").is_some());
    }

    #[test]
    fn each_fact_comes_from_one_source_unless_both_are_asked_for() {
        let knows = |source, event_type| routes(source).by_type.contains_key(event_type);
        let (event, request) =
            ("huleedu.class.created.v1", "huleedu.notification.teacher.requested.v1");
        let only_event = "huleedu.cj_assessment.failed.v1";
        for (source, expected) in [
            (NotificationSource::Domain, [true, false, true]),
            (NotificationSource::Teacher, [false, true, true]),
            (NotificationSource::Both, [true, true, true]),
        ] {
            assert_eq!([event, request, only_event].map(|t| knows(source, t)), expected);
        }
    }

    #[test]
    fn no_two_rows_share_a_type_an_alias_or_a_setting() {
        let mut names: Vec<&str> = ROUTES
            .iter()
            .flat_map(|r| {
                [r.event_type, r.topic.setting].into_iter().chain(r.aliases.iter().copied())
            })
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
