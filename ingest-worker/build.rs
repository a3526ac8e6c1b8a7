//! Links `replaced.c` instead of two functions of librdkafka; the reasons are in
//! `src/infrastructure/kafka/librdkafka_workaround.rs`.

const SOURCE: &str = "src/infrastructure/kafka/librdkafka_workaround/replaced.c";
const REPLACED: [&str; 2] = ["rd_kafka_metadata_update_op", "rd_kafka_rebootstrap_tmr_stop"];

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    // Only the linkers of Linux support `--wrap`.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        for object in cc::Build::new().file(SOURCE).compile_intermediates() {
            println!("cargo::rustc-link-arg={}", object.display());
        }
        for function in REPLACED {
            println!("cargo::rustc-link-arg=-Wl,--wrap={function}");
        }
    }
}
