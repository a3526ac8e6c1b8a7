//! Frames on a user's channel that the worker did not publish.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_frame_with_a_position_ahead_of_the_stream_hides_no_later_frame() {
    let mut context = context();
    let u = context.connect("u");
    context.session.start().await.unwrap();
    context.redis.publish("u", 1);
    context.hub.deliver("u", frame(50));
    context.redis.publish("u", 2);
    assert!(time::timeout(Duration::from_secs(1), context.session.run()).await.is_err());
    context.redis.publish("u", 3);
    assert_eq!(received(&u), ["1", "50", "gap", "2", "3"]);
    // One behind the stream is dropped.
    context.hub.deliver("u", frame(1));
    assert!(time::timeout(Duration::from_secs(1), context.session.run()).await.is_err());
    context.redis.publish("u", 4);
    assert_eq!(received(&u), ["4"]);
}
