//! Notices that files have changed, however that was done.
//!
//! Folders are watched, not files: an atomic rename and most editors put a new
//! file in the old one's place, and a watch on the old one would see nothing
//! more. A slow look at all files covers what no notification tells: symbolic
//! links that are swapped somewhere above, and network file systems.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use sha2::{Digest as _, Sha256};

/// Silence after which a change counts as finished.
const QUIET: Duration = Duration::from_millis(40);

/// A file that is written all the time is looked at this often all the same.
const QUIET_MAX: Duration = Duration::from_millis(400);

/// How often all files are looked at without any notification.
const LOOK: Duration = Duration::from_secs(2);

/// How long a file may be missing before that counts as a change: some
/// programs delete first and write then.
const MISSING: Duration = Duration::from_millis(500);

enum Message {
    Touched,
    /// Somebody insists, and may want to know when it is done.
    Force(Option<oneshot::Sender<()>>),
    Stop,
}

/// Asks for a reload whether or not anything has changed. Cheap to clone.
#[derive(Clone)]
pub struct Trigger(SyncSender<Message>);

impl Trigger {
    /// Asks. Does not wait for the result.
    pub fn reload(&self) {
        // Full: the thread has enough reasons to look, and this one needs to get through.
        if let Err(TrySendError::Full(message)) = self.0.try_send(Message::Force(None)) {
            let _ = self.0.send(message);
        }
    }

    /// Asks, and returns when it was tried; at once when nobody reloads any more.
    pub async fn reload_and_wait(&self) {
        let (done, tried) = oneshot::channel();
        let (messages, message) = (self.0.clone(), Message::Force(Some(done)));
        // Room for the message may have to be waited for.
        let sent = tokio::task::spawn_blocking(move || messages.send(message)).await;
        if matches!(sent, Ok(Ok(()))) {
            let _ = tried.await;
        }
    }
}

/// Watches until it is dropped.
pub struct Watch {
    messages: SyncSender<Message>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Calls what `make` makes, in a thread of its own, after a change to any
    /// of the files; it returns the files to watch from then on.
    pub fn start<R: FnMut() -> Vec<PathBuf>>(
        files: Vec<PathBuf>,
        make: impl FnOnce() -> R + Send + 'static,
    ) -> std::io::Result<Watch> {
        let (messages, inbox) = sync_channel(64);
        let mut watching = Watching::new(files, messages.clone());
        let run = move || watching.run(&inbox, make());
        let thread = std::thread::Builder::new()
            .name("reload".to_owned())
            .spawn(run)?;
        Ok(Watch {
            messages,
            thread: Some(thread),
        })
    }

    /// A handle that asks for a reload.
    pub fn trigger(&self) -> Trigger {
        Trigger(self.messages.clone())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.messages.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a file looked like: cheap to ask for, different after almost any change.
type Stamp = (u64, std::time::SystemTime, u64);

/// What was in it; none: it was not there.
type Content = Option<[u8; 32]>;

struct Watching {
    files: Vec<PathBuf>,
    stamps: BTreeMap<PathBuf, Option<Stamp>>,
    contents: BTreeMap<PathBuf, Content>,
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
}

impl Watching {
    fn new(files: Vec<PathBuf>, messages: SyncSender<Message>) -> Watching {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Being read is no change, and we read them ourselves.
            let read = |event: &notify::Event| {
                matches!(event.kind, notify::EventKind::Access(access)
                    if access != notify::event::AccessKind::Close(notify::event::AccessMode::Write))
            };
            if !event.is_ok_and(|event| read(&event)) {
                // Full: the thread will look anyway.
                let _ = messages.try_send(Message::Touched);
            }
        });
        if let Err(error) = &watcher {
            tracing::warn!(target: "portcullis::reload", %error, "changes are noticed late: the system gives no notifications");
        }
        let mut watching = Watching {
            stamps: stamps(&files),
            contents: contents(&files),
            files,
            watcher: watcher.ok(),
            folders: BTreeSet::new(),
        };
        watching.follow();
        watching
    }

    fn run(&mut self, inbox: &Receiver<Message>, mut react: impl FnMut() -> Vec<PathBuf>) {
        loop {
            let wish = match inbox.recv_timeout(LOOK) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(message) => match settle(inbox, message) {
                    Some(wish) => wish,
                    None => return,
                },
                Err(RecvTimeoutError::Timeout) => Wish::default(),
            };
            if self.changed() || wish.force {
                self.files = react();
                // What is new in the list has just been read.
                for file in &self.files {
                    if !self.stamps.contains_key(file) {
                        self.stamps.insert(file.clone(), stamp(file));
                        self.contents.insert(file.clone(), content(file));
                    }
                }
            }
            self.follow();
            for asked in wish.asked {
                // Whoever asked may not wait any more.
                let _ = asked.send(());
            }
        }
    }

    /// Whether what is in the files is something else than at the last look.
    fn changed(&mut self) -> bool {
        let mut now = stamps(&self.files);
        if now == self.stamps {
            return false;
        }
        let begun = Instant::now();
        while now.values().any(Option::is_none) && begun.elapsed() < MISSING {
            std::thread::sleep(QUIET);
            now = stamps(&self.files);
        }
        // Stamps are older than contents: what changes in between is seen next time.
        self.stamps = now;
        let contents = contents(&self.files);
        let changed = contents != self.contents;
        self.contents = contents;
        changed
    }

    /// Watches the folders of all files, and those that links lead to.
    fn follow(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let mut folders = BTreeSet::new();
        for file in &self.files {
            folders.insert(folder(file));
            if let Ok(real) = file.canonicalize() {
                folders.insert(folder(&real));
            }
        }
        for gone in self.folders.difference(&folders) {
            let _ = watcher.unwatch(gone);
        }
        let mut watched = BTreeSet::new();
        for folder in folders {
            if self.folders.contains(&folder)
                || watcher.watch(&folder, RecursiveMode::NonRecursive).is_ok()
            {
                watched.insert(folder);
            }
        }
        self.folders = watched;
    }
}

/// What was wanted while things settled.
#[derive(Default)]
struct Wish {
    /// Somebody insists.
    force: bool,
    /// Who wants to know when it is done.
    asked: Vec<oneshot::Sender<()>>,
}

impl Wish {
    /// False: it is over.
    fn hear(&mut self, message: Message) -> bool {
        match message {
            Message::Touched => {}
            Message::Force(asked) => {
                self.force = true;
                self.asked.extend(asked);
            }
            Message::Stop => return false,
        }
        true
    }
}

/// Waits until nothing more comes; none when it is over.
fn settle(inbox: &Receiver<Message>, first: Message) -> Option<Wish> {
    let begun = Instant::now();
    let mut wish = Wish::default();
    wish.hear(first);
    while begun.elapsed() < QUIET_MAX {
        match inbox.recv_timeout(QUIET) {
            Ok(message) => {
                if !wish.hear(message) {
                    return None;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => break,
        }
    }
    Some(wish)
}

fn folder(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn stamps(files: &[PathBuf]) -> BTreeMap<PathBuf, Option<Stamp>> {
    files
        .iter()
        .map(|file| (file.clone(), stamp(file)))
        .collect()
}

fn stamp(file: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(file).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Some((metadata.len(), metadata.modified().ok()?, inode))
}

fn contents(files: &[PathBuf]) -> BTreeMap<PathBuf, Content> {
    files
        .iter()
        .map(|file| (file.clone(), content(file)))
        .collect()
}

fn content(file: &Path) -> Content {
    let mut hash = Sha256::new();
    let mut file = std::fs::File::open(file).ok()?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match std::io::Read::read(&mut file, &mut buffer).ok()? {
            0 => return Some(hash.finalize().into()),
            read => hash.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// Runs `change` and says how often the watch reacted.
    fn reactions(files: &[&Path], change: impl FnOnce(&Trigger)) -> usize {
        let files: Vec<PathBuf> = files.iter().map(|file| file.to_path_buf()).collect();
        let (reacted, reactions) = channel();
        let again = files.clone();
        let watch = Watch::start(files, move || {
            move || {
                let _ = reacted.send(());
                again.clone()
            }
        })
        .unwrap();
        change(&watch.trigger());
        std::thread::sleep(Duration::from_millis(900));
        drop(watch);
        reactions.try_iter().count()
    }

    #[test]
    fn notices_every_way_of_replacing_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        let other = dir.path().join("g");
        std::fs::write(&file, "0").unwrap();
        assert_eq!(
            reactions(&[&file], |_| std::fs::write(&file, "1").unwrap()),
            1,
            "rewritten in place"
        );
        let rename = |_: &Trigger| {
            std::fs::write(&other, "2").unwrap();
            std::fs::rename(&other, &file).unwrap();
        };
        assert_eq!(reactions(&[&file], rename), 1, "renamed over");
        let editor = |_: &Trigger| {
            std::fs::rename(&file, dir.path().join("f~")).unwrap();
            std::thread::sleep(Duration::from_millis(150));
            std::fs::write(&file, "3").unwrap();
        };
        assert_eq!(
            reactions(&[&file], editor),
            1,
            "moved away and written anew"
        );
    }

    #[cfg(unix)]
    #[test]
    fn notices_a_link_that_leads_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["a", "b"] {
            std::fs::create_dir(dir.path().join(version)).unwrap();
            std::fs::write(dir.path().join(version).join("f"), version).unwrap();
        }
        let link = dir.path().join("current");
        std::os::unix::fs::symlink("a", &link).unwrap();
        let swap = |_: &Trigger| {
            let fresh = dir.path().join("fresh");
            std::os::unix::fs::symlink("b", &fresh).unwrap();
            std::fs::rename(&fresh, &link).unwrap();
            // No folder of the file has changed: only the slow look can tell.
            std::thread::sleep(LOOK);
        };
        assert_eq!(reactions(&[&link.join("f")], swap), 1);
    }

    #[test]
    fn does_not_react_to_what_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, "0").unwrap();
        let noise = |_: &Trigger| {
            std::fs::write(dir.path().join("neighbour"), "x").unwrap();
            std::fs::write(&file, "0").unwrap();
        };
        assert_eq!(reactions(&[&file], noise), 0);
        assert_eq!(
            reactions(&[&file], Trigger::reload),
            1,
            "but does when asked"
        );
    }
}
