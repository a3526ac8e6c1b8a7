//! Files that may change while the gateway runs: keys and certificates. Their content is compared
//! every few seconds, which also notices files that are replaced by a rename or a mount. While
//! the new content is invalid, the last valid value stays in use.

use std::{io::Read as _, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use prometheus::IntCounter;
use shared::metrics::Labeled;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often the files are read: a rotation is in use seconds after it is mounted, and reading a
/// few KiB from the page cache costs microseconds.
const INTERVAL: Duration = Duration::from_secs(2);

/// Largest file, in bytes; keys and certificate chains have a few KiB.
const MAX_FILE_SIZE: u64 = 1 << 20;

/// Counts reloads of key and certificate files, or fetches of a key set, by result.
pub(crate) type Reloads = Labeled<ReloadResult, IntCounter>;

shared::label! {
    /// The result of a reload.
    pub(crate) enum ReloadResult as "result" {
        /// The new value is in use.
        Ok = "ok",
        /// The new content is invalid; the last valid value stays in use.
        Failed = "failed",
    }
}

/// The last valid value of the files. Cheap to clone.
pub(crate) type Current<T> = watch::Receiver<Arc<T>>;

/// Makes a value from the contents of the files, in the order of their paths.
pub(crate) type Parse<T> = Box<dyn Fn(&[Vec<u8>]) -> anyhow::Result<T> + Send + Sync>;

/// A value that follows the content of its files.
pub(crate) struct WatchedFiles<T> {
    name: &'static str,
    paths: Arc<[PathBuf]>,
    parse: Parse<T>,
    contents: Vec<Vec<u8>>,
    current: watch::Sender<Arc<T>>,
    reloads: Reloads,
}

impl<T: Send + Sync + 'static> WatchedFiles<T> {
    /// Reads the files for the first time. `name` is for the log.
    ///
    /// # Errors
    /// If a file cannot be read or its content is invalid.
    pub(crate) fn open(
        name: &'static str,
        paths: Vec<PathBuf>,
        parse: Parse<T>,
        reloads: Reloads,
    ) -> anyhow::Result<Self> {
        let contents = read(&paths)?;
        let (current, _) = watch::channel(Arc::new(parse(&contents)?));
        Ok(Self { name, paths: paths.into(), parse, contents, current, reloads })
    }

    /// Returns the last valid value, which follows the files while [`WatchedFiles::run`] runs.
    #[must_use]
    pub(crate) fn current(&self) -> Current<T> {
        self.current.subscribe()
    }

    /// Reads the files every [`INTERVAL`] until `shutdown`.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut logged = None;
        while shutdown.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
            let paths = Arc::clone(&self.paths);
            // A network file system may block for long.
            let Ok(contents) = tokio::task::spawn_blocking(move || read(&paths)).await else {
                continue;
            };
            let error = contents.and_then(|contents| self.apply(contents)).err();
            let error = error.map(|error| format!("{error:#}"));
            // One line for each different error, not one every two seconds.
            if error != logged {
                if let Some(error) = &error {
                    self.reloads.of(ReloadResult::Failed).inc();
                    warn!(files = self.name, error, "reload failed, keeping the last valid files");
                }
                logged = error;
            }
        }
    }

    fn apply(&mut self, contents: Vec<Vec<u8>>) -> anyhow::Result<()> {
        if contents == self.contents {
            return Ok(());
        }
        self.current.send_replace(Arc::new((self.parse)(&contents)?));
        self.contents = contents;
        self.reloads.of(ReloadResult::Ok).inc();
        info!(files = self.name, "reloaded changed files");
        Ok(())
    }
}

impl<T> std::fmt::Debug for WatchedFiles<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchedFiles").field("paths", &self.paths).finish_non_exhaustive()
    }
}

fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Vec<u8>>> {
    let read = |path: &PathBuf| {
        let mut content = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(MAX_FILE_SIZE + 1).read_to_end(&mut content)?;
        ensure!(content.len() as u64 <= MAX_FILE_SIZE, "larger than {MAX_FILE_SIZE} bytes");
        anyhow::Ok(content)
    };
    paths.iter().map(|path| read(path).with_context(|| path.display().to_string())).collect()
}

#[cfg(test)]
mod tests {
    use prometheus::Opts;
    use shared::metrics::MetricField as _;

    use super::*;

    fn number(contents: &[Vec<u8>]) -> anyhow::Result<u32> {
        Ok(std::str::from_utf8(&contents[0])?.parse()?)
    }

    fn open(path: PathBuf) -> anyhow::Result<WatchedFiles<u32>> {
        let reloads = Reloads::create(Opts::new("reloads", "Reloads."), ()).unwrap();
        WatchedFiles::open("numbers", vec![path], Box::new(number), reloads)
    }

    #[test]
    fn the_last_valid_value_stays_in_use_while_a_file_is_invalid() {
        let path = std::env::temp_dir().join(format!("watched-files-{}", uuid::Uuid::new_v4()));
        std::fs::write(&path, "1").unwrap();
        let files = open(path.clone());
        std::fs::remove_file(&path).unwrap();
        let mut files = files.unwrap();
        let current = files.current();
        files.apply(vec![b"7".to_vec()]).unwrap();
        assert_eq!(**current.borrow(), 7);
        assert!(files.apply(vec![b"seven".to_vec()]).is_err());
        assert_eq!(**current.borrow(), 7);
        files.apply(vec![b"7".to_vec()]).unwrap();
        assert_eq!(files.reloads.of(ReloadResult::Ok).get(), 1);
    }

    #[test]
    fn an_unreadable_an_endless_and_an_invalid_file_are_refused_at_start() {
        for path in ["/nowhere", "/dev/zero"] {
            let problem = format!("{:#}", open(path.into()).unwrap_err());
            assert!(problem.starts_with(path), "{problem}");
        }
        assert!(open("/dev/null".into()).is_err());
    }
}
