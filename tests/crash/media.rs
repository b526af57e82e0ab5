//! Media that fail: a full disk, one that turns read-only, and one that loses its power.
//!
//! They need the right to mount. Where that is missing a test says what it skips, and counts it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::cycles::{Damage, Snapshot, assert_unharmed, finish, look, note_told};
use crate::process::{DEADLINE, Random, figure, kills, output_at_most};
use crate::soak::{self, Order};

/// A file system of its own, unmounted when it is dropped.
struct Mounted {
    at: PathBuf,
    _folder: TempDir,
}

impl Mounted {
    /// None where the machine does not let us.
    fn tmpfs(size: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let at = folder.path().join("disk");
        std::fs::create_dir(&at).unwrap();
        let size = format!("size={size}");
        let mounted = run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", text(&at)]);
        mounted.then_some(Self { at, _folder: folder })
    }

    /// An ext4 in a file. None where the machine does not let us.
    fn ext4() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let (at, image) = (folder.path().join("disk"), folder.path().join("image"));
        std::fs::create_dir(&at).unwrap();
        let mounted = run("truncate", &["-s", "64M", text(&image)])
            && run("mkfs.ext4", &["-q", text(&image)])
            && run("mount", &["-o", "loop", text(&image), text(&at)]);
        mounted.then_some(Self { at, _folder: folder })
    }

    fn remount(&self, options: &str) -> bool {
        let options = format!("remount,{options}");
        run("mount", &["-o", &options, text(&self.at)])
    }

    /// Cuts the power: nothing that is not on disk will be. Mounted again it is as the disk has it.
    fn cut_power(&self) -> bool {
        // EXT4_IOC_SHUTDOWN without a flush of the log.
        const CUT: &str = "import fcntl,os,struct,sys; \
            fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        run("python3", &["-c", CUT, text(&self.at)])
    }

    fn mount_again(&self) {
        assert!(run("umount", &[text(&self.at)]), "it cannot be unmounted");
        let image = self.at.with_file_name("image");
        assert!(run("mount", &["-o", "loop", text(&image), text(&self.at)]));
    }

    fn state(&self) -> PathBuf {
        self.at.join("state")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &["-l", text(&self.at)]);
    }
}

#[test]
fn a_full_disk_is_said_and_costs_nothing_once_there_is_room() {
    let Some(disk) = Mounted::tmpfs("640k") else {
        return skip("a_full_disk", "no tmpfs can be mounted here");
    };

    let output = output_at_most(soak::start(&disk.state(), &Order::default()), DEADLINE);

    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "there was room for everything");
    assert!(said.contains("full") || said.contains("space"), "{said}");
    assert!(disk.remount("size=64m"));
    finish(&disk.state(), &Order::default());
    assert_unharmed_but_failed(&disk.state());
}

#[test]
fn a_read_only_disk_is_said_and_costs_nothing_once_it_can_be_written() {
    let Some(disk) = Mounted::tmpfs("64m") else {
        return skip("a_read_only_disk", "no tmpfs can be mounted here");
    };
    finish(&disk.state(), &Order::default());
    assert!(disk.remount("ro"));

    let output = output_at_most(soak::start(&disk.state(), &Order::default()), DEADLINE);

    let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(!output.status.success());
    assert!(said.contains("read-only") || said.contains("permission"), "{said}");
    assert!(disk.remount("rw"));
    finish(&disk.state(), &Order::default());
    assert_unharmed(&disk.state());
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let Some(disk) = Mounted::ext4() else {
        return skip("power_cuts", "no ext4 can be mounted here");
    };
    let mut random = Random::from_env();
    finish(&disk.state(), &Order::default());
    let (mut seen, mut damage) = (Snapshot::default(), Damage::default());
    look(&disk.state(), &mut seen, &mut damage);
    let cuts = kills(20) / 5;
    for cut in 0..cuts {
        let running = soak::start(&disk.state(), &Order::default());
        let pid = running.id();
        std::thread::park_timeout(Duration::from_millis(30 + (random.next() * 300.0) as u64));
        if !disk.cut_power() {
            crate::process::send("KILL", pid);
            drop(output_at_most(running, DEADLINE));
            return skip("power_cuts", "this machine does not let the power be cut");
        }
        // Whatever the program says from now on does not count; what it said before does.
        crate::process::send("KILL", pid);
        let output = output_at_most(running, DEADLINE);
        disk.mount_again();
        look(&disk.state(), &mut seen, &mut damage);
        note_told(&disk.state(), &output, &mut damage);
        let only_open = Order {
            only_open: true,
            ..Order::default()
        };
        finish(&disk.state(), &only_open);
        look(&disk.state(), &mut seen, &mut damage);
        assert!(damage.lost.is_empty(), "after cut {cut}: {damage:?}");
    }

    figure("power_cuts", cuts.into());
    damage.assert_none();
    assert_unharmed(&disk.state());
}

/// A run may have failed for want of room; whatever was made after it is whole and once.
fn assert_unharmed_but_failed(state: &Path) {
    let mut damage = Damage::default();
    look(state, &mut Snapshot::default(), &mut damage);
    damage.assert_none();
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have names in UTF-8")
}

fn skip(what: &str, why: &str) {
    figure(&format!("skipped_{what}"), 1);
    // Seen even when the test passes: a skip must not look like a proof.
    writeln!(std::io::stderr(), "skipped: {what}: {why}").expect("somebody listens");
}
