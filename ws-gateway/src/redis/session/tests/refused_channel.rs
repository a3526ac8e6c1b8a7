//! A user whose channel the gateway may not subscribe to.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_user_whose_channel_is_refused_is_confirmed_later_and_harms_no_other_user() {
    let mut context = context();
    context.redis.state().refused_channel = Some(user("u"));
    let (mut u, mut v) = (context.connect("u"), context.connect("v"));
    context.session.start().await.unwrap();
    assert!(!is_confirmed(&mut u) && is_confirmed(&mut v));
    let errors = context.metrics.redis_user_errors.of(RedisUserError::NoPermission).clone();
    assert!(time::timeout(Duration::from_mins(10), context.session.run()).await.is_err());
    assert!((8..30).contains(&errors.get()), "{} attempts in 10 minutes", errors.get());
    context.redis.state().refused_channel = None;
    assert!(time::timeout(Duration::from_mins(2), context.session.run()).await.is_err());
    for id in ["u", "v"] {
        context.redis.publish(id, 1);
    }
    assert_eq!((received(&u), received(&v)), (vec!["1".into()], vec!["1".into()]));
}
