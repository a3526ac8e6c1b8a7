//! A user of whom much is missing holds up no other one.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_user_who_connects_during_a_long_repair_is_served_before_it_ends() {
    let mut context = context();
    let long = context.connect("a");
    context.session.start().await.unwrap();
    context.reconnect(|redis| (1..=5_000).for_each(|ms| redis.publish("a", ms)));
    let hub = context.hub.clone();
    let newcomer = async {
        tokio::task::yield_now().await;
        let mut newcomer = hub.register(&user("b"), Uuid::new_v4()).unwrap();
        newcomer.confirmed().await;
        long.position()
    };
    let (started, repaired_to) = tokio::join!(context.session.start(), newcomer);
    started.unwrap();
    assert!(repaired_to < at(5_000), "repaired before: {repaired_to}");
    assert_eq!(long.position(), at(5_000));
}
