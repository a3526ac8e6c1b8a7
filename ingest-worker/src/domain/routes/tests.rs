use super::*;

fn routes(source: NotificationSource) -> Routes {
    Routes::new(source, |topic| topic.default.to_owned())
}

#[test]
fn a_type_takes_precedence_over_its_alias_and_that_over_the_topic() {
    let routes = routes(NotificationSource::Domain);
    let found = |event_type, topic| routes.find(event_type, topic).map(|r| r.event_type);
    let failed = Ok("huleedu.cj_assessment.failed.v1");
    assert_eq!(found("huleedu.cj_assessment.failed.v1", "huleedu.class.created.v1"), failed);
    assert_eq!(found("cj_assessment.failed.v1", "any"), failed);
    assert_eq!(found("never.heard.of", "huleedu.cj_assessment.failed.v1"), failed);
    assert_eq!(found("never.heard.of", "nor.of.this"), Err(IgnoreReason::NoRoute));
}

#[test]
fn a_topic_that_several_types_share_routes_by_type_only() {
    let routes = Routes::new(NotificationSource::Both, |_| "everything".to_owned());
    assert!(routes.find("never.heard.of", "everything").is_err());
    assert!(routes.find("huleedu.class.created.v1", "everything").is_ok());
}

#[test]
fn each_fact_has_one_source_unless_both_are_configured() {
    let is_routed = |source, event_type| routes(source).find(event_type, "any").is_ok();
    let (event, request) =
        ("huleedu.class.created.v1", "huleedu.notification.teacher.requested.v1");
    let only_event = "huleedu.cj_assessment.failed.v1";
    for (source, expected) in [
        (NotificationSource::Domain, [true, false, true]),
        (NotificationSource::Teacher, [false, true, true]),
        (NotificationSource::Both, [true, true, true]),
    ] {
        assert_eq!([event, request, only_event].map(|t| is_routed(source, t)), expected);
    }
}

#[test]
fn no_two_rows_share_a_type_an_alias_or_a_setting() {
    let mut names: Vec<&str> = ROUTES
        .iter()
        .flat_map(|r| [r.event_type, r.topic.setting].into_iter().chain(r.aliases.iter().copied()))
        .collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}
