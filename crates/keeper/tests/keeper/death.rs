//! What a keeper does when ceph-fuse dies, is shut out, or cannot be started anew.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use cuttle_host::AbsolutePath;
use cuttle_keeper::{Adopted, Answer, Phase, Question};
use cuttle_testbed::until;

use crate::bed::{Bed, PATIENCE};

/// A shell in a mount namespace of its own, into which nothing propagates: a container.
struct Container {
    shell: Child,
    say: ChildStdin,
    hear: BufReader<ChildStdout>,
}

impl Container {
    fn start() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "a stand-in for a container, fed by lines"
        )]
        let mut shell = std::process::Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (say, hear) = (shell.stdin.take().unwrap(), shell.stdout.take().unwrap());
        let hear = BufReader::new(hear);
        let mut container = Self { shell, say, hear };
        container.does("true");
        container
    }

    /// Whether a command succeeds inside.
    fn does(&mut self, command: &str) -> bool {
        writeln!(self.say, "{command} >/dev/null 2>&1; echo $?").unwrap();
        let mut line = String::new();
        self.hear.read_line(&mut line).unwrap();
        line.trim() == "0"
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ended = self.shell.kill();
        let _reaped = self.shell.wait();
    }
}

fn works(path: &AbsolutePath) -> bool {
    std::fs::read_dir(path).is_ok()
}

#[test]
fn a_killed_client_is_replaced_at_every_place() {
    let bed = Bed::new();
    let served = bed.serve();
    std::fs::create_dir(bed.staging().as_path().join("sub")).unwrap();
    let (plain, locked) = (bed.publish("a", &[]), bed.publish("b", &["ro"]));
    let mut container = Container::start();
    let file = plain.as_path().join("file");
    let write = format!("sh -c 'echo x > {}'", file.display());
    assert!(container.does(&write));

    bed.kill_client(&served);
    let healed = bed.until_healed(1);
    assert_ne!(healed.client, served.client);
    assert_eq!(healed.trouble, None);
    for path in [&bed.staging(), &plain, &locked] {
        assert!(works(path), "{path}");
        assert_eq!(bed.device_at(path), healed.device, "{path}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "x\n");
    let refused = std::fs::write(locked.as_path().join("file"), "y").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
    assert!(container.does(&write), "the container's own copy is dead");
    assert!(container.does(&format!("test -d {plain}/sub")));
    drop(container);

    // And again: nothing piles up.
    bed.kill_client(&healed);
    bed.until_healed(2);
    let table = bed.host.mount_table().unwrap();
    assert_eq!(table.count_at(bed.staging()), 1);
    assert_eq!(table.count_at(&plain), 2);
    assert!(works(&plain));
    bed.take_down(&[&plain, &locked]);
}

#[test]
fn a_held_keeper_does_not_heal_until_it_is_let_go() {
    let bed = Bed::new();
    let served = bed.serve();
    let target = bed.publish("target", &[]);
    let mut holder = bed.reach().unwrap();
    assert_eq!(holder.ask(Question::Hold).unwrap().phase, Phase::Serving);
    bed.kill_client(&served);
    until("the keeper knows", PATIENCE, || {
        let status = bed.status();
        match (status.phase, &status.trouble) {
            (Phase::Dead, Some(_)) => Ok(()),
            _ => Err(format!("{status:?}")),
        }
    })
    .unwrap();
    assert!(!works(&target));
    assert_eq!(bed.status().healed, 0);
    drop(holder);
    bed.until_healed(1);
    assert!(works(&target));
    bed.take_down(&[&target]);
}

#[test]
fn a_dead_mount_is_taken_down_while_it_is_held() {
    let bed = Bed::new();
    let served = bed.serve();
    let target = bed.publish("target", &[]);
    let mut holder = bed.reach().unwrap();
    holder.ask(Question::Hold).unwrap();
    bed.kill_client(&served);
    until("the mount is dead", PATIENCE, || {
        if works(&target) {
            Err("alive".to_owned())
        } else {
            Ok(())
        }
    })
    .unwrap();
    bed.host.unmount(&target).unwrap();
    bed.host.unmount(&bed.staging()).unwrap();
    assert!(holder.wait_end(PATIENCE).unwrap(), "the keeper stays");
    bed.assert_clean();
}

#[test]
fn an_evicted_client_counts_as_dead() {
    let bed = Bed::new();
    let served = bed.serve();
    let target = bed.publish("target", &[]);
    let session = bed.session(served.client.unwrap().pid);
    bed.evict(session);
    bed.until_healed(1);
    assert!(works(&target));
    std::fs::write(target.as_path().join("file"), "x").unwrap();
    bed.take_down(&[&target]);
}

#[test]
fn an_adopted_mount_is_kept_like_an_own_one() {
    let bed = Bed::new();
    let served = bed.serve();
    let target = bed.publish("target", &[]);
    bed.host.kill_process(served.keeper.into()).unwrap();
    until("the keeper is gone", PATIENCE, || match bed.reach() {
        None => Ok(()),
        Some(_) => Err("it is there".to_owned()),
    })
    .unwrap();
    assert!(works(&target), "the mount has ended with its keeper");
    let mut order = bed.order();
    order.adopted = Some(Adopted {
        device: served.device.unwrap(),
        client: served.client,
        session: served.session.clone(),
    });
    let Answer::Status(adopted) = bed.send(&order).answer().unwrap() else {
        panic!("the mount was not adopted");
    };
    assert_eq!(
        (adopted.client, adopted.device),
        (served.client, served.device)
    );
    bed.kill_client(&served);
    bed.until_healed(1);
    assert!(works(&target));
    bed.take_down(&[&target]);
}

#[test]
fn a_mount_that_cannot_come_back_is_tried_again_and_told() {
    let bed = Bed::new();
    let name = format!("keeper-{}", uuid::Uuid::new_v4().simple());
    let caps = [("mon", "allow r"), ("mds", "allow rw"), ("osd", "allow rw")];
    let key = bed.cluster.user(&name, &caps).unwrap();
    let mut order = bed.order();
    order.key = cuttle_model::Secret::new(key.clone());
    order.arguments[7] = format!("client.{name}");
    let Answer::Status(served) = bed.send(&order).answer().unwrap() else {
        panic!("not mounted");
    };
    let target = bed.publish("target", &[]);
    let entity = format!("client.{name}");
    bed.cluster.json(&["auth", "rm", &entity]).unwrap();
    bed.kill_client(&served);
    until("the trouble is told", PATIENCE, || {
        let status = bed.status();
        let told = status.trouble.clone().unwrap_or_default();
        if status.phase == Phase::Dead && told.contains("cannot be started anew") {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    })
    .unwrap();
    assert!(!Path::new(&format!("/proc/{}", served.client.unwrap().pid)).exists());

    // With another key, another keeper takes over: the places of the dead mount are known to it.
    let mut old = bed.reach().unwrap();
    let retired = old.ask(Question::Retire).unwrap();
    assert!(old.wait_end(PATIENCE).unwrap());
    assert!(!retired.dead.is_empty());
    let mut order = bed.order();
    order.heals = retired.dead;
    let Answer::Status(status) = bed.send(&order).answer().unwrap() else {
        panic!("not mounted");
    };
    assert_eq!(bed.device_at(&target), status.device);
    bed.until_healed(0);
    assert!(works(&target));
    bed.take_down(&[&target]);
}
