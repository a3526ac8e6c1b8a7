use super::*;

fn rate(per_second: u32) -> HandshakeRate {
    HandshakeRate::new(NonZeroU32::new(per_second).unwrap())
}

/// An address in a /24 of its own.
fn address(number: u32) -> IpAddr {
    std::net::Ipv4Addr::from_bits(number << 8).into()
}

/// How many handshakes of a client succeed until one is refused.
fn accepted(rate: &HandshakeRate, client: IpAddr) -> usize {
    std::iter::repeat_with(|| rate.try_acquire(client)).take_while(Result::is_ok).count()
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_not_exceeded_and_a_second_of_tokens_is_saved_up() {
    let rate = rate(3);
    let mut clients = (0..).map(address);
    let mut acquired = || {
        let attempts = clients.by_ref().take(5).map(|client| rate.try_acquire(client));
        attempts.filter(|result| *result != Err(RateExceeded::Total)).count()
    };
    assert_eq!(acquired(), 3);
    tokio::time::advance(Duration::from_millis(400)).await;
    assert_eq!(acquired(), 1);
    tokio::time::advance(Duration::from_mins(1)).await;
    assert_eq!(acquired(), 3);
}

#[tokio::test(start_paused = true)]
async fn addresses_that_reconnect_without_a_pause_leave_tokens_for_the_others() {
    let rate = rate(1_000);
    for tick in 0..2_000 {
        for attacker in 0..4 {
            accepted(&rate, address(attacker));
        }
        assert_eq!(rate.try_acquire(address(0)), Err(RateExceeded::PerAddress));
        assert_eq!(rate.try_acquire(address(100 + tick)), Ok(()), "tick {tick}");
        tokio::time::advance(Duration::from_millis(5)).await;
    }
    let sources = rate.bucket().recent.len();
    assert!(sources < 1_000, "{sources} sources are kept");
}

#[tokio::test(start_paused = true)]
async fn an_address_alone_may_use_almost_the_whole_rate_and_half_of_what_is_saved_up() {
    let rate = rate(1_000);
    assert_eq!(accepted(&rate, address(1)), 500);
    tokio::time::advance(Duration::from_mins(1)).await;
    for tick in 0..10_000 {
        assert_eq!(rate.try_acquire(address(1)), Ok(()), "tick {tick}");
        tokio::time::advance(Duration::from_micros(1_010)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_ipv6_subnet_shares_its_handshakes() {
    let rate = rate(4);
    let acquire = |client: &str| rate.try_acquire(client.parse().unwrap());
    assert_eq!((acquire("2001:db8::1"), acquire("2001:db8::2")), (Ok(()), Ok(())));
    assert_eq!(acquire("2001:db8::3"), Err(RateExceeded::PerAddress));
    assert_eq!(acquire("2001:db8:0:1::1"), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_client_with_a_whole_network_leaves_tokens_for_other_networks() {
    let ipv4 = |number: u64| format!("192.0.2.{}", number % 256);
    let ipv6_56 = |number: u64| format!("2001:db8:0:{:x}::1", number % 256);
    let ipv6_48 = |number: u64| format!("2001:db8:0:{:x}::1", number % 65_536);
    let attacks: [&dyn Fn(u64) -> String; 3] = [&ipv4, &ipv6_56, &ipv6_48];
    for attack in attacks {
        let rate = rate(200);
        let mut sent = 0;
        for tick in 0..2_000 {
            for _ in 0..100 {
                rate.try_acquire(attack(sent).parse().unwrap()).ok();
                sent += 1;
            }
            assert_eq!(rate.try_acquire(address(tick)), Ok(()), "{}: tick {tick}", attack(0));
            tokio::time::advance(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn many_addresses_or_a_wide_network_leave_tokens_for_networks_without_a_recent_handshake() {
    let addresses = |number: u32| address(number % 300);
    let ipv6_40 = |number: u32| {
        let address = format!("2001:db8:{:x}:{number:x}::1", number % 256);
        address.parse().unwrap()
    };
    let attacks: [&dyn Fn(u32) -> IpAddr; 2] = [&addresses, &ipv6_40];
    for attack in attacks {
        let rate = rate(1_000);
        let mut sent: u32 = 0;
        for tick in 0..1_000 {
            for _ in 0..200 {
                rate.try_acquire(attack(sent % 65_536)).ok();
                sent += 1;
            }
            assert_eq!(rate.try_acquire(address(1_000 + tick)), Ok(()), "{}: {tick}", attack(0));
            tokio::time::advance(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_leaves_tokens_for_its_neighbours() {
    let rate = rate(200);
    for tick in 0..200 {
        accepted(&rate, "192.0.2.1".parse().unwrap());
        let neighbour = format!("192.0.2.{}", 2 + tick % 100);
        assert_eq!(rate.try_acquire(neighbour.parse().unwrap()), Ok(()), "tick {tick}");
        tokio::time::advance(Duration::from_millis(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_with_a_good_token_leaves_tokens_for_others_behind_the_same_address() {
    let (rate, client) = (rate(200), address(1));
    let user = |id: u32| UserId::new(&id.to_string()).unwrap();
    for tick in 0..2_000 {
        for attempt in 0..500 {
            assert_eq!(rate.try_acquire(client), Ok(()), "attempt {attempt}");
            if rate.assign(client, &user(0)) == Err(RateExceeded::PerUser) {
                break;
            }
        }
        assert_eq!(rate.try_acquire(client), Ok(()), "tick {tick}");
        assert_eq!(rate.assign(client, &user(1 + tick)), Ok(()), "tick {tick}");
        tokio::time::advance(Duration::from_millis(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_without_a_good_jwt_keeps_no_user_behind_its_address_out() {
    let (rate, client) = (rate(200), address(1));
    for tick in 0..2_000 {
        accepted(&rate, client);
        assert_eq!(rate.try_acquire(client), Err(RateExceeded::PerAddress), "tick {tick}");
        let user = UserId::new(&tick.to_string()).unwrap();
        assert_eq!(rate.acquire(&user), Ok(()), "tick {tick}");
        tokio::time::advance(Duration::from_millis(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_above_the_share_of_an_address_leaves_tokens_for_others() {
    let (rate, user) = (rate(100), UserId::new("u").unwrap());
    let acquired = (0..100).filter(|_| rate.acquire(&user).is_ok()).count();
    assert_eq!((acquired, rate.acquire(&user)), (50, Err(RateExceeded::PerUser)));
    for other in 0..39 {
        assert_eq!(rate.acquire(&UserId::new(&other.to_string()).unwrap()), Ok(()), "{other}");
    }
    // The last tenth.
    assert_eq!(rate.acquire(&UserId::new("v").unwrap()), Ok(()));
    assert_eq!(rate.acquire(&UserId::new("w").unwrap()), Err(RateExceeded::Total));
    assert_eq!(rate.try_acquire(address(1)), Ok(()));
}
