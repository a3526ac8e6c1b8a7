use super::*;

#[test]
fn the_log_line_with_the_addresses_is_found() {
    let log = "text\n{\"message\":\"starting\"}\n\
               {\"message\":\"worker started\",\"admin_address\":\"127.0.0.1:7\"}\n{\"mess";
    assert_eq!(listening(log).unwrap()["admin_address"], "127.0.0.1:7");
    assert_eq!(listening("{\"message\":\"starting\"}"), None);
}
