//! Links `replaced.c` instead of two functions of librdkafka; the reasons are in
//! `src/infrastructure/kafka/librdkafka_workaround.rs`.

const SOURCE: &str = "src/infrastructure/kafka/librdkafka_workaround/replaced.c";
const REPLACED: [&str; 2] = ["rd_kafka_metadata_update_op", "rd_kafka_rebootstrap_tmr_stop"];

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rustc-check-cfg=cfg(replaces_librdkafka_functions)");
    // Only the linkers of Linux support `--wrap`.
    let is_linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    // `rdkafka-sys` names its folder only if it links librdkafka statically.
    let is_static = std::env::var_os("DEP_RDKAFKA_ROOT").is_some();
    if is_linux && is_static {
        println!("cargo::rustc-cfg=replaces_librdkafka_functions");
        for object in cc::Build::new().file(SOURCE).compile_intermediates() {
            println!("cargo::rustc-link-arg={}", object.display());
        }
        for function in REPLACED {
            println!("cargo::rustc-link-arg=-Wl,--wrap={function}");
        }
    }
}
