//! A Postgres server of one's own: started for a test, gone with it.
//!
//! Uses the programs of the Postgres that is installed; knows nothing of SQL.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tempfile::TempDir;

/// A port may be taken by another process between finding it free and taking it.
const START_TRIES: u32 = 5;

/// A Postgres server with a cluster in a temporary folder, which listens on a free port of this machine. Nothing of it outlives
/// the value, and nothing in it outlives a power loss: it does not sync.
#[derive(Debug)]
pub struct PostgresServer {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
}

impl PostgresServer {
    /// Starts a server, or gives `None` when no Postgres is installed here. Where the variable `CI` is set there must be one.
    ///
    /// # Panics
    /// When it does not start, or when there is none though `CI` is set.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            let is_ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty());
            assert!(!is_ci, "no Postgres is installed: `apt-get install postgresql`");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("flowstone-postgres-").tempdir();
        let mut server = Self {
            folder: folder.expect("a temporary folder can be made"),
            programs,
            port: 0,
        };
        server.make_cluster();
        for attempt in 1.. {
            server.port = free_port();
            match server.launch() {
                Ok(()) => break,
                Err(_) if attempt < START_TRIES => {}
                Err(log) => panic!("Postgres does not start:\n{log}"),
            }
        }
        Some(server)
    }

    /// The server that all tests of this process share, started by the first and stopped by the last one that holds it; `None` as for
    /// [`start`](Self::start), which is then said on stderr.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[expect(clippy::print_stderr, reason = "a test that does nothing says so")]
    pub fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<PostgresServer>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let Some(server) = Self::start().map(Arc::new) else {
            eprintln!("skipped: no Postgres is installed here");
            return None;
        };
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    /// The address of the database that every server has.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The address of a database of it.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://app@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes a database, and gives its address.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn database(&self, name: &str) -> String {
        let port = self.port.to_string();
        let made = self.run("createdb", ["-h", "127.0.0.1", "-p", &port, "-U", "app", name]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        self.url_of(name)
    }

    fn make_cluster(&self) {
        let data = self.folder.path().join("data");
        fs::create_dir(&data).expect("a folder can be made in a temporary one");
        if is_root() {
            // Postgres refuses to run as root.
            open_to_all(self.folder.path());
            let given = Command::new("chown")
                .arg("-R")
                .arg("postgres")
                .arg(self.folder.path())
                .status();
            assert!(
                given.is_ok_and(|status| status.success()),
                "the folder can be given to the user postgres"
            );
        }
        let options = ["-U", "app", "-A", "trust", "-E", "UTF8", "--no-locale", "-N", "-D"];
        let options = options.iter().map(OsStr::new).chain([data.as_os_str()]);
        let made = self.run("initdb", options);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    fn launch(&self) -> Result<(), String> {
        let (data, log) = (
            self.folder.path().join("data"),
            self.folder.path().join("data/server.log"),
        );
        let settings = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={} -c fsync=off \
             -c full_page_writes=off -c max_connections=100",
            self.port,
            data.display()
        );
        let options = [
            OsStr::new("start"),
            OsStr::new("-w"),
            OsStr::new("-D"),
            data.as_os_str(),
            OsStr::new("-l"),
            log.as_os_str(),
            OsStr::new("-o"),
            OsStr::new(&settings),
        ];
        if self.run("pg_ctl", options).status.success() {
            Ok(())
        } else {
            Err(fs::read_to_string(log).unwrap_or_default())
        }
    }

    fn run(&self, program: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
        let path = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        // A server that was started must not hold on to the pipes of whoever started it.
        let stderr = self.folder.path().join(format!("{program}.err"));
        let output = fs::File::create(&stderr).and_then(|file| {
            let status = command
                .args(arguments)
                .current_dir(self.folder.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(file)
                .status()?;
            Ok(Output {
                status,
                stdout: Vec::new(),
                stderr: fs::read(&stderr)?,
            })
        });
        output.unwrap_or_else(|error| panic!("{program} cannot be run: {error}"))
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let data = self.folder.path().join("data");
        let options = ["stop", "-m", "immediate", "-w", "-D"].iter().map(OsStr::new);
        self.run("pg_ctl", options.chain([data.as_os_str()]));
    }
}

/// The folder with the programs of the newest Postgres that is installed.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let numbered = versions.filter_map(|version| {
        let number: u32 = version.file_name().to_str()?.parse().ok()?;
        Some((number, version.path().join("bin")))
    });
    let debian = numbered.max().map(|(_, programs)| programs);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = debian.into_iter().chain(std::env::split_paths(&path));
    folders.into_iter().find(|folder| {
        ["initdb", "pg_ctl", "createdb"]
            .iter()
            .all(|name| folder.join(name).is_file())
    })
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.expect("this machine has a free port").port()
}

fn is_root() -> bool {
    fn owner() -> io::Result<bool> {
        let id = Command::new("id").arg("-u").output()?;
        Ok(id.stdout.trim_ascii() == b"0")
    }
    owner().unwrap_or(false)
}

/// Lets the user postgres into the folder.
fn open_to_all(folder: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let opened = fs::set_permissions(folder, fs::Permissions::from_mode(0o755));
        opened.expect("a folder of one's own can be opened to others");
    }
    #[cfg(not(unix))]
    let _ = folder;
}
