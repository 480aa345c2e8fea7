//! How a connection is protected, and who may have one.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;
use tintype_services::Postgres;
use tintype_storage::records::{PostgresDatabase, Records};
use url::Url;

/// Writes a file into the folder of the server's data, as the server, which has to be the only one that can read it.
async fn write(connection: &mut PgConnection, text: &str, command: &str) {
    let lines = format!(
        "COPY (SELECT line FROM unnest(string_to_array($text${text}$text$, E'\\n')) line) TO PROGRAM 'umask 077; {command}'"
    );
    sqlx::raw_sql(AssertSqlSafe(lines)).execute(connection).await.unwrap();
}

async fn run(connection: &mut PgConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

#[tokio::test]
async fn a_server_is_spoken_to_only_if_its_certificate_is_of_its_name_and_of_a_known_authority() {
    let server = Postgres::start();
    let (ours, others) = (authority(), authority());
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &ours).unwrap();
    let mut admin = PgConnection::connect(&server.url("postgres")).await.unwrap();
    write(&mut admin, &certificate.pem(), "cat > server.crt").await;
    write(&mut admin, &key.serialize_pem(), "cat > server.key").await;
    run(&mut admin, "ALTER SYSTEM SET ssl = on").await;
    run(&mut admin, "SELECT pg_reload_conf()").await;
    let folder = TempDir::new().unwrap();
    let root = |name: &str, authority: &CertifiedIssuer<'_, KeyPair>| {
        let path = folder.path().join(name);
        std::fs::write(&path, authority.pem()).unwrap();
        path.display().to_string()
    };
    let url = |host: &str, root: &str| {
        let mut url = Url::parse(&server.url("postgres")).unwrap();
        url.set_host(Some(host)).unwrap();
        url.query_pairs_mut().append_pair("sslmode", "verify-full").append_pair("sslrootcert", root);
        url.to_string()
    };
    let (known, unknown) = (root("ours.pem", &ours), root("others.pem", &others));
    // A reload takes a moment, in which connections are refused.
    while PgConnection::connect(&url("127.0.0.1", &known)).await.is_err() {
        tokio::task::yield_now().await;
    }

    let records = Records::open_postgres(url("127.0.0.1", &known)).await.unwrap();
    records.ping().await.unwrap();
    let sessions = "SELECT COUNT(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                    WHERE application_name = 'tintype' AND NOT ssl";
    let (plain,): (i64,) = sqlx::query_as(sessions).fetch_one(&mut admin).await.unwrap();
    assert_eq!(plain, 0);
    // The other authority has the same name and another key.
    for (host, root, why) in [("127.0.0.1", &unknown, "BadSignature"), ("localhost", &known, "NotValidForName")] {
        let refused = format!("{:?}", Records::open_postgres(url(host, root)).await.unwrap_err());
        assert!(refused.contains(why), "{refused}");
    }
}

#[tokio::test]
async fn a_password_beside_the_url_is_used_and_not_shown() {
    let server = Postgres::start();
    let mut admin = PgConnection::connect(&server.url("postgres")).await.unwrap();
    run(&mut admin, "CREATE ROLE tintype LOGIN PASSWORD 'hunter2@/:'").await;
    run(&mut admin, "CREATE DATABASE tintype OWNER tintype TEMPLATE template0").await;
    let rule = "host all tintype 127.0.0.1/32 scram-sha-256";
    write(&mut admin, rule, "cat - pg_hba.conf > pg_hba.new && mv pg_hba.new pg_hba.conf").await;
    run(&mut admin, "SELECT pg_reload_conf()").await;
    let mut url = Url::parse(&server.url("tintype")).unwrap();
    url.set_username("tintype").unwrap();
    let database = |password: &str| PostgresDatabase {
        password: Some(password.to_owned()),
        ..PostgresDatabase::from(url.as_str())
    };
    // A reload takes a moment, in which everybody is let in.
    while PgConnection::connect(url.as_str()).await.is_ok() {
        tokio::task::yield_now().await;
    }

    Records::open_postgres(database("hunter2@/:")).await.unwrap().ping().await.unwrap();

    let refused = Records::open_postgres(database("hunter3")).await.unwrap_err();
    let shown = format!("{refused} {refused:?} {:?}", database("hunter3"));
    assert!(!shown.contains("hunter3"), "{shown}");
}

#[tokio::test]
async fn an_older_version_starts_on_a_database_that_a_newer_one_has_migrated() {
    let database = Postgres::shared().database();
    Records::open_postgres(&database.url()).await.unwrap();
    let mut newer = PgConnection::connect(&database.url()).await.unwrap();
    run(&mut newer, "ALTER TABLE media ADD COLUMN of_a_later_version BIGINT NOT NULL DEFAULT 0").await;
    let applied = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'later', TRUE, '\\x00', 0)";
    run(&mut newer, applied).await;

    let records = Records::open_postgres(&database.url()).await.unwrap();

    records.ping().await.unwrap();
}
