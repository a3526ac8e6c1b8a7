//! The second listener of Apache Kafka: TLS and SASL.

use std::path::PathBuf;

use crate::certificates::{Certificates, HOST};

/// Connection settings of the TLS and SASL listener.
#[derive(Clone, Debug)]
pub struct Secured {
    /// The port on [`HOST`].
    pub port: u16,
    /// Certificate of the authority to trust.
    pub authority: PathBuf,
}

/// The SASL user.
const USER: &str = "ingest-worker";
/// Password of the SASL user.
pub const PASSWORD: &str = "of-the-worker-1f9d";

impl Secured {
    /// Returns the settings with which a worker connects.
    #[must_use]
    pub fn worker_settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("KAFKA_BOOTSTRAP_SERVERS", format!("{HOST}:{}", self.port)),
            ("KAFKA_PROPERTY_SECURITY_PROTOCOL", "SASL_SSL".into()),
            ("KAFKA_PROPERTY_SSL_CA_LOCATION", self.authority.display().to_string()),
            ("KAFKA_PROPERTY_SASL_MECHANISM", "PLAIN".into()),
            ("KAFKA_PROPERTY_SASL_USERNAME", USER.into()),
            ("KAFKA_PROPERTY_SASL_PASSWORD", PASSWORD.into()),
        ]
    }

    /// Returns the settings with which a worker connects by a token of this endpoint.
    #[must_use]
    pub fn worker_settings_with_token(&self, endpoint: &str) -> Vec<(&'static str, String)> {
        vec![
            ("KAFKA_BOOTSTRAP_SERVERS", format!("{HOST}:{}", self.port)),
            ("KAFKA_PROPERTY_SECURITY_PROTOCOL", "SASL_SSL".into()),
            ("KAFKA_PROPERTY_SSL_CA_LOCATION", self.authority.display().to_string()),
            ("KAFKA_PROPERTY_SASL_MECHANISM", "OAUTHBEARER".into()),
            ("KAFKA_PROPERTY_SASL_OAUTHBEARER_METHOD", "oidc".into()),
            ("KAFKA_PROPERTY_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL", endpoint.into()),
            ("KAFKA_PROPERTY_SASL_OAUTHBEARER_CLIENT_ID", USER.into()),
            ("KAFKA_PROPERTY_SASL_OAUTHBEARER_CLIENT_SECRET", PASSWORD.into()),
        ]
    }

    /// Returns the broker's properties for both listeners. It accepts tokens without a signature.
    pub(super) fn properties(&self, plain: u16, certificates: &Certificates) -> String {
        format!(
            "advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SASL_SSL://{HOST}:{}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location={}
sasl.enabled.mechanisms=PLAIN,OAUTHBEARER
listener.name.sasl_ssl.oauthbearer.sasl.jaas.config=\\
org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \\
unsecuredLoginStringClaim_sub=\"broker\";
listener.name.sasl_ssl.plain.sasl.jaas.config=\\
org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";
",
            self.port,
            certificates.key_and_certificate.display()
        )
    }
}
