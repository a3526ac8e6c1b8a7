//! Redis has lost the entries up to the position of a user.

use super::*;

#[tokio::test(start_paused = true)]
async fn after_redis_lost_its_data_the_user_continues_at_the_new_end() {
    let mut context = context();
    let u = context.connect("u");
    context.session.start().await.unwrap();
    context.redis.publish("u", 9);
    context.reconnect(|redis| {
        redis.state().users.get_mut("u").unwrap().stream.clear();
        redis.publish("u", 4);
    });
    context.session.start().await.unwrap();
    context.redis.publish("u", 5);
    assert_eq!(received(&u), ["9", "gap", "5"]);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_in_flight_while_the_new_end_is_read_is_delivered() {
    let mut context = context();
    let u = context.connect("u");
    context.session.start().await.unwrap();
    context.redis.publish("u", 9);
    context.reconnect(|redis| redis.state().users.get_mut("u").unwrap().stream.clear());
    let (hub, redis) = (context.hub.clone(), context.redis.clone());
    context.redis.state().during_positions = Some(Box::new(move || {
        redis.state().users.get_mut("u").unwrap().stream.push(4);
        redis.state().during_check = Some(Box::new(move || hub.deliver("u", frame(4))));
    }));
    context.session.start().await.unwrap();
    context.redis.publish("u", 5);
    assert_eq!(received(&u), ["9", "gap", "4", "5"]);
}
