/* Replacements for two functions of librdkafka 2.12; librdkafka_workaround.rs gives the reasons. */

/* rd_kafka_op_res_t */
enum { RD_KAFKA_OP_RES_HANDLED = 1 };

/* Ignores the leaders that a fetch or produce response names. */
int __wrap_rd_kafka_metadata_update_op(void *client, void *metadata) {
        (void)client;
        (void)metadata;
        return RD_KAFKA_OP_RES_HANDLED;
}

/* Leaves the timer running; 0 means that it was not stopped. */
int __wrap_rd_kafka_rebootstrap_tmr_stop(void *client) {
        (void)client;
        return 0;
}
