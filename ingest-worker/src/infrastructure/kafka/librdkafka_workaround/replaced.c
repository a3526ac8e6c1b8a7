/* What the linker puts in the place of two functions of librdkafka 2.12. librdkafka_workaround.rs says why. */

/* rd_kafka_op_res_t */
enum { RD_KAFKA_OP_RES_HANDLED = 1 };

/* Takes over no leader that the answer to a fetch or a produce request names. */
int __wrap_rd_kafka_metadata_update_op(void *client, void *metadata) {
        (void)client;
        (void)metadata;
        return RD_KAFKA_OP_RES_HANDLED;
}

/* Lets the timer run; 0: it was not stopped. */
int __wrap_rd_kafka_rebootstrap_tmr_stop(void *client) {
        (void)client;
        return 0;
}
