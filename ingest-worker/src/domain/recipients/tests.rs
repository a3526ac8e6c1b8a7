use super::*;

fn event(user: Option<&str>, owned: &[OwnedEntity]) -> RecipientHints {
    RecipientHints { user: user.map(|id| UserId::new(id).unwrap()), owned: owned.to_vec() }
}

fn batch(id: &str) -> OwnedEntity {
    OwnedEntity::Batch(id.into())
}

fn class(id: &str) -> OwnedEntity {
    OwnedEntity::Class(id.into())
}

async fn resolved(directory: &FakeDirectory, events: &[RecipientHints]) -> Vec<Option<String>> {
    let events: Vec<&RecipientHints> = events.iter().collect();
    let mut owners = OwnerLookup::new(&events);
    owners.resolve(directory).await.unwrap();
    let user = |recipient| match recipient {
        Recipient::Known(user) => Some(user.to_string()),
        Recipient::Unknown => None,
        Recipient::Refused(error) => panic!("{error}"),
    };
    owners.recipients(&events).into_iter().map(user).collect()
}

#[tokio::test]
async fn the_named_user_takes_precedence_over_the_batch_and_that_over_the_class() {
    let directory = FakeDirectory::default();
    directory.owners.lock().unwrap().extend([
        (batch("b"), UserId::new("of-batch").unwrap()),
        (class("c"), UserId::new("of-class").unwrap()),
    ]);
    let events = [
        event(Some("named"), &[]),
        event(None, &[batch("b"), class("c")]),
        event(None, &[batch("unknown"), class("c")]),
        event(None, &[batch("unknown")]),
    ];
    let expected = [Some("named"), Some("of-batch"), Some("of-class"), None];
    let users = resolved(&directory, &events).await;
    assert_eq!(users, expected.map(|user| user.map(str::to_owned)));
}

#[tokio::test]
async fn an_owner_is_learned_for_the_same_batch_of_events_and_for_later_ones() {
    let directory = FakeDirectory::default();
    let before = event(None, &[batch("b")]);
    let states_owner = event(Some("u"), &[batch("b"), class("c")]);
    let users = resolved(&directory, &[before, states_owner]).await;
    assert_eq!(users, [Some("u".to_owned()), Some("u".to_owned())]);
    let users = resolved(&directory, &[event(None, &[class("c")])]).await;
    assert_eq!(users, [Some("u".to_owned())]);
    assert_eq!(directory.round_trips.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_recipient_does_not_depend_on_which_events_are_read_together() {
    let events = [
        event(None, &[class("c")]),
        event(Some("u2"), &[class("c")]),
        event(None, &[class("c")]),
        event(Some("u3"), &[class("c")]),
        event(None, &[class("c")]),
    ];
    let expected = ["u1", "u2", "u2", "u3", "u3"].map(|user| Some(user.to_owned()));
    for events_read_together in 1..=events.len() {
        let directory = FakeDirectory::default();
        let first_owner = (class("c"), UserId::new("u1").unwrap());
        directory.owners.lock().unwrap().extend([first_owner]);
        let mut users = Vec::new();
        for batch in events.chunks(events_read_together) {
            users.extend(resolved(&directory, batch).await);
        }
        assert_eq!(users, expected, "{events_read_together} events read together");
    }
}

#[tokio::test]
async fn an_event_whose_owner_is_stated_later_goes_to_the_first_owner() {
    let states = |user| event(Some(user), &[class("c")]);
    let events = [event(None, &[class("c")]), states("u1"), states("u2")];
    let users = resolved(&FakeDirectory::default(), &events).await;
    assert_eq!(users, ["u1", "u1", "u2"].map(|user| Some(user.to_owned())));
}

#[tokio::test]
async fn an_event_with_an_entity_that_the_directory_refuses_has_no_recipient_yet() {
    let directory = FakeDirectory::default();
    let system = crate::notification::publisher::System::Redis;
    let error = TransientError { system, detail: "refused".into() };
    directory.refused.lock().unwrap().insert(batch("b"), error.clone());
    let user = UserId::new("u").unwrap();
    directory.owners.lock().unwrap().insert(class("c"), user.clone());
    let events = [
        event(None, &[batch("b"), class("c")]),
        event(Some("u"), &[batch("b")]),
        event(None, &[class("c")]),
    ];
    let events: Vec<&RecipientHints> = events.iter().collect();
    let mut owners = OwnerLookup::new(&events);
    owners.resolve(&directory).await.unwrap();
    let refused = Recipient::Refused(error);
    let expected = [refused.clone(), refused, Recipient::Known(user)];
    assert_eq!(owners.recipients(&events), expected);
}

#[tokio::test]
async fn events_that_name_only_their_user_need_no_round_trip() {
    let directory = FakeDirectory::default();
    resolved(&directory, &[event(Some("u"), &[])]).await;
    assert_eq!(directory.round_trips.load(std::sync::atomic::Ordering::Relaxed), 0);
}
