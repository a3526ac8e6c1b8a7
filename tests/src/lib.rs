//! Both services as processes, against real Kafka and Redis.
