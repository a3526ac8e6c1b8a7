//! WatchedFiles that may change while the gateway runs: keys and certificates. They are read again every
//! few seconds and compared, which also sees what is mounted by renaming. What a bad file said
//! before stays in use, and the log says so once.

use std::{io::Read as _, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use prometheus::IntCounter;
use shared::metrics::Labeled;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Counts reloads of key and certificate files, or of key sets, by result.
pub type Reloads = Labeled<ReloadResult, IntCounter>;

shared::label! {
    /// Whether a reload succeeded.
    pub enum ReloadResult as "result" {
        /// The new value is in use.
        Ok = "ok",
        /// The earlier value stays in use.
        Failed = "failed",
    }
}

/// How often files are looked at.
const INTERVAL: Duration = Duration::from_secs(2);

/// No key and no chain of certificates is larger, in bytes.
const MOST_BYTES: u64 = 1 << 20;

/// What files said when they were last good. Cheap to clone.
pub type Current<T> = watch::Receiver<Arc<T>>;

/// Makes a value of the contents of its files, in order.
pub type Make<T> = Box<dyn Fn(&[Vec<u8>]) -> anyhow::Result<T> + Send + Sync>;

/// Keeps a value up to date with its files.
pub struct WatchedFiles<T> {
    what: &'static str,
    paths: Arc<[PathBuf]>,
    make: Make<T>,
    contents: Vec<Vec<u8>>,
    current: watch::Sender<Arc<T>>,
    reloads: Reloads,
}

impl<T: Send + Sync + 'static> WatchedFiles<T> {
    /// Reads the files a first time. `what` they are is for the log.
    ///
    /// # Errors
    /// When a file cannot be read or is not what it should be.
    pub fn open(
        what: &'static str,
        paths: Vec<PathBuf>,
        make: Make<T>,
        reloads: Reloads,
    ) -> anyhow::Result<Self> {
        let contents = read(&paths)?;
        let (current, _) = watch::channel(Arc::new(make(&contents)?));
        Ok(Self { what, paths: paths.into(), make, contents, current, reloads })
    }

    /// What the files said last.
    #[must_use]
    pub fn current(&self) -> Current<T> {
        self.current.subscribe()
    }

    /// Looks at the files again and again until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut reported = None;
        while shutdown.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
            let paths = Arc::clone(&self.paths);
            // A disk may hang, and tasks must not.
            let Ok(contents) = tokio::task::spawn_blocking(move || read(&paths)).await else {
                continue;
            };
            let problem = contents.and_then(|contents| self.take(contents)).err();
            let problem = problem.map(|problem| format!("{problem:#}"));
            if problem != reported {
                if let Some(problem) = &problem {
                    self.reloads.of(ReloadResult::Failed).inc();
                    warn!(what = self.what, problem, "a file is bad, what it was stays in use");
                }
                reported = problem;
            }
        }
    }

    fn take(&mut self, contents: Vec<Vec<u8>>) -> anyhow::Result<()> {
        if contents == self.contents {
            return Ok(());
        }
        self.current.send_replace(Arc::new((self.make)(&contents)?));
        self.contents = contents;
        self.reloads.of(ReloadResult::Ok).inc();
        info!(what = self.what, "read again, as the files have changed");
        Ok(())
    }
}

impl<T> std::fmt::Debug for WatchedFiles<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchedFiles").field("paths", &self.paths).finish_non_exhaustive()
    }
}

/// The contents of all files.
///
/// # Errors
/// Names the file that cannot be read.
pub fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Vec<u8>>> {
    let read = |path: &PathBuf| {
        let mut content = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(MOST_BYTES + 1).read_to_end(&mut content)?;
        ensure!(content.len() as u64 <= MOST_BYTES, "larger than {MOST_BYTES} bytes");
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

    #[test]
    fn what_a_bad_file_said_before_stays_in_use() {
        let paths = vec![PathBuf::from("/dev/null")];
        let reloads = Reloads::create(Opts::new("reloads", "Reloads."), ()).unwrap();
        let refused = WatchedFiles::open("keys", paths.clone(), Box::new(number), reloads.clone());
        assert!(refused.is_err());
        let lenient = |contents: &[Vec<u8>]| {
            number(contents).or_else(
                |error| {
                    if contents[0].is_empty() { Ok(0) } else { Err(error) }
                },
            )
        };
        let mut files =
            WatchedFiles::open("keys", paths, Box::new(lenient), reloads.clone()).unwrap();
        let current = files.current();
        files.take(vec![b"7".to_vec()]).unwrap();
        assert_eq!(**current.borrow(), 7);
        assert!(files.take(vec![b"seven".to_vec()]).is_err());
        assert_eq!(**current.borrow(), 7);
        files.take(vec![b"7".to_vec()]).unwrap();
        assert_eq!(reloads.of(ReloadResult::Ok).get(), 1);
    }

    #[test]
    fn a_file_that_is_away_or_endless_is_named() {
        for path in ["/nowhere", "/dev/zero"] {
            let problem = format!("{:#}", read(&[path.into()]).unwrap_err());
            assert!(problem.starts_with(path), "{problem}");
        }
    }
}
