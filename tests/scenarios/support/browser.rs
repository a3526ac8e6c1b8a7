//! Drives headless Chromium over the DevTools protocol. Tabs of one [`Window`] share storage like
//! tabs of one browser; windows share nothing.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use harness::{eventually, process::Process, workspace};

/// Names of the Chromium binary.
const PROGRAMS: [&str; 4] =
    ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/// Longest wait for the browser to start, and for an answer to a command.
const LIMIT: Duration = Duration::from_secs(40);

/// Headless, and without network traffic of its own.
const ARGUMENTS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-address=127.0.0.1",
    "--remote-debugging-port=0",
];

/// Returns the path of Chromium, if it is installed.
#[must_use]
pub fn program() -> Option<PathBuf> {
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let candidates = PROGRAMS.iter().flat_map(|name| folders.iter().map(move |f| f.join(name)));
    candidates.into_iter().find(|path| path.is_file())
}

/// A running browser; it ends on drop.
#[derive(Debug)]
pub struct Browser {
    // Declared first, so that it ends before its folder is removed.
    process: Process,
    address: String,
    path: String,
    _folder: TempDir,
}

impl Browser {
    /// Starts Chromium with a fresh profile.
    ///
    /// # Errors
    /// When it does not start in time.
    pub async fn start(program: PathBuf) -> anyhow::Result<Self> {
        let folder = workspace::temporary("browser-")?;
        let profile = folder.path().join("profile");
        let mut command = Command::new(program);
        command.args(ARGUMENTS).arg(format!("--user-data-dir={}", profile.display()));
        command.arg("about:blank");
        let process = Process::start("chromium", &command, &folder.path().join("log"))?;
        let (address, path) = eventually("the browser listens", LIMIT, async || {
            anyhow::ensure!(process.is_running(), "Chromium has exited: {}", process.log_tail());
            let text = std::fs::read_to_string(profile.join("DevToolsActivePort"))?;
            let (port, path) = text.split_once('\n').context("DevToolsActivePort is incomplete")?;
            Ok((format!("127.0.0.1:{port}"), path.trim().to_owned()))
        })
        .await?;
        Ok(Self { process, address, path, _folder: folder })
    }

    /// Opens a browser context, which shares no storage with other windows.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn window(&self) -> anyhow::Result<Window<'_>> {
        let mut control = self.attach(&self.path).await?;
        let created = control.call("Target.createBrowserContext", json!({})).await?;
        let context =
            created["browserContextId"].as_str().context("the response has an id")?.to_owned();
        Ok(Window { browser: self, control, context })
    }

    async fn attach(&self, path: &str) -> anyhow::Result<Tab> {
        anyhow::ensure!(
            self.process.is_running(),
            "Chromium has exited: {}",
            self.process.log_tail()
        );
        let stream = TcpStream::connect(&self.address).await?;
        let url = format!("ws://{}{path}", self.address);
        // Screenshots exceed the default limits.
        let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
        let (socket, _) = client_async_with_config(url, stream, Some(config)).await?;
        Ok(Tab { socket, calls: 0, target: String::new() })
    }
}

/// A browser window with tabs.
#[derive(Debug)]
pub struct Window<'a> {
    browser: &'a Browser,
    control: Tab,
    context: String,
}

impl Window<'_> {
    /// Opens a page in a new tab.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn open(&mut self, url: &str) -> anyhow::Result<Tab> {
        let target = json!({"url": "about:blank", "browserContextId": self.context});
        let created = self.control.call("Target.createTarget", target).await?;
        let target = created["targetId"].as_str().context("the response has an id")?;
        let mut tab = self.browser.attach(&format!("/devtools/page/{target}")).await?;
        target.clone_into(&mut tab.target);
        tab.call("Page.enable", json!({})).await?;
        tab.call("Page.navigate", json!({"url": url})).await?;
        Ok(tab)
    }

    /// Closes a tab.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn close(&mut self, tab: Tab) -> anyhow::Result<()> {
        self.control.call("Target.closeTarget", json!({"targetId": tab.target})).await?;
        Ok(())
    }
}

/// One page.
#[derive(Debug)]
pub struct Tab {
    socket: WebSocketStream<TcpStream>,
    calls: u64,
    target: String,
}

impl Tab {
    /// Calls a DevTools method and returns its result.
    ///
    /// # Errors
    /// When the method fails or is not answered in time.
    pub async fn call(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        self.calls += 1;
        let id = self.calls;
        let call = json!({"id": id, "method": method, "params": params});
        self.socket.send(Message::text(call.to_string())).await?;
        let answer = async {
            loop {
                let message =
                    self.socket.next().await.context("the DevTools connection has ended")??;
                let Message::Text(text) = message else { continue };
                let mut answer: Value = serde_json::from_str(&text)?;
                // Events of the page are ignored.
                if answer["id"] != id {
                    continue;
                }
                if let Some(error) = answer.get("error") {
                    bail!("{method}: {error}");
                }
                return Ok(answer["result"].take());
            }
        };
        timeout(LIMIT, answer).await.with_context(|| format!("{method}: no answer"))?
    }

    /// Evaluates a JavaScript expression in the page; awaits promises.
    ///
    /// # Errors
    /// When it throws.
    pub async fn value(&mut self, expression: &str) -> anyhow::Result<Value> {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut result = self.call("Runtime.evaluate", params).await?;
        if let Some(thrown) = result.get("exceptionDetails") {
            bail!("{expression} threw {thrown}");
        }
        Ok(result["result"]["value"].take())
    }

    /// Waits until an expression has the `expected` value.
    ///
    /// # Errors
    /// When it does not within `limit`; names its last value.
    pub async fn wait_for_value(
        &mut self,
        expression: &str,
        expected: Value,
        limit: Duration,
    ) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let value = self.value(expression).await.unwrap_or_default();
            if value == expected {
                return Ok(());
            }
            if tokio::time::Instant::now() >= deadline {
                bail!("{expression} is {value} after {limit:?}, not {expected}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns a screenshot as base64 of a PNG.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn screenshot(&mut self) -> anyhow::Result<String> {
        let taken = self.call("Page.captureScreenshot", json!({"format": "png"})).await?;
        Ok(taken["data"].as_str().context("the response has data")?.to_owned())
    }
}
