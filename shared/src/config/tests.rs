use super::*;

#[derive(Debug)]
struct AlwaysInvalid;

impl FromArgMatches for AlwaysInvalid {
    fn from_arg_matches(_: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self)
    }
    fn update_from_arg_matches(&mut self, _: &ArgMatches) -> Result<(), clap::Error> {
        Ok(())
    }
}

impl Validate for AlwaysInvalid {
    fn problems(&self) -> Vec<String> {
        vec!["a contradicts b".into()]
    }
}

#[test]
fn durations_have_a_unit_and_default_to_seconds() {
    assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
    assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(duration("2h"), Ok(Duration::from_hours(2)));
    assert_eq!(duration("30d"), Ok(Duration::from_hours(720)));
    for bad in ["", "s", "-1", "1.5", "1w", "99999999999999999999", "18446744073709551615d"] {
        assert!(duration(bad).is_err(), "{bad}");
    }
    assert!(positive_duration("0").is_err());
    assert!(duration("36500d").is_ok());
    assert_eq!(duration("36501d"), Err("a duration is at most 36500d".to_owned()));
}

#[test]
fn one_error_lists_every_problem_and_no_secret() {
    // Cargo sets `CARGO_PKG_NAME` and `CARGO_MANIFEST_DIR` for every test run.
    let port = Arg::new("port").long("port").env("CARGO_PKG_NAME").default_value("1");
    let key = Arg::new("key").long("key").env("CARGO_MANIFEST_DIR").hide_env_values(true);
    let command = Command::new("test")
        .arg(port.value_parser(clap::value_parser!(u16)))
        .arg(key.value_parser(|_: &str| Err::<Secret, _>("too short".to_owned())));
    let Err(ConfigError::Invalid(problems)) = read::<AlwaysInvalid, _, _>(command, ["test"]) else {
        panic!("the settings are invalid");
    };
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems[0].starts_with("CARGO_PKG_NAME = \"shared\": "), "{problems:?}");
    assert_eq!(problems[1], "CARGO_MANIFEST_DIR: too short");
    assert_eq!(problems[2], "a contradicts b");
}

#[test]
fn a_missing_argument_is_named() {
    let command = Command::new("test").arg(Arg::new("user").long("user").required(true));
    let Err(ConfigError::Invalid(problems)) = read::<AlwaysInvalid, _, _>(command, ["test"]) else {
        panic!("an argument is missing");
    };
    let expected = "the following required arguments were not provided: --user <user>";
    assert_eq!(problems, [expected]);
}

#[test]
fn a_secret_is_refused_as_an_argument_and_never_printed() {
    let key = Arg::new("key").long("key").env("NO_SUCH_VARIABLE").hide_env_values(true);
    let Err(ConfigError::Invalid(problems)) =
        read::<AlwaysInvalid, _, _>(Command::new("test").arg(key), ["test", "--key", "hunter2"])
    else {
        panic!("the settings are invalid");
    };
    assert!(problems[0].contains("never from arguments"));
    assert!(!problems.join("").contains("hunter2"));
    assert_eq!(format!("{:?}", Secret::from("hunter2")), "***");
}
