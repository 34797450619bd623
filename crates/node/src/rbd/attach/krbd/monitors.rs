//! The monitors as the kernel wants them: numeric addresses, all of one version of the protocol.
//!
//! Pure. The forms that Ceph's own library takes are read here; a list with a host name is left to
//! the `rbd` program, which resolves it.

use std::net::{IpAddr, SocketAddr};

use cuttle_host::Answer;
use cuttle_model::Monitors;

/// The usual ports for the protocol's first and second version.
const FIRST_PORT: u16 = 6789;
const SECOND_PORT: u16 = 3300;

/// The first words of a daemon that speaks the first version (`ceph v027`), and the second.
const FIRST_WORDS: &[u8] = b"ceph v0";
const SECOND_WORDS: &[u8] = b"ceph v2";

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// What kernels speak unless told otherwise.
    First,
    /// What kernels since 5.11 speak when `ms_mode` says so.
    Second,
}

/// A monitor's address, and the protocol if the list or the port says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Monitor {
    pub(super) address: SocketAddr,
    pub(super) protocol: Option<Protocol>,
}

/// Which protocol is to be spoken with whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) protocol: Protocol,
}

/// All addresses in the list; `None` when one of them is not numeric.
#[must_use]
pub(super) fn read(monitors: &Monitors) -> Option<Vec<Monitor>> {
    let mut found = Vec::new();
    for part in monitors.joined().split([',', ';']) {
        let part = part.trim();
        let part = match part.strip_prefix('[') {
            // `[v2:…,v1:…]` lists one monitor's addresses; `[fe80::1]` is one.
            Some(rest) if rest.starts_with("v1:") || rest.starts_with("v2:") => rest,
            Some(_) | None => part,
        };
        if part.is_empty() {
            continue;
        }
        let (protocol, rest) = match (part.strip_prefix("v1:"), part.strip_prefix("v2:")) {
            (Some(rest), _) => (Some(Protocol::First), rest),
            (_, Some(rest)) => (Some(Protocol::Second), rest),
            (None, None) => (None, part),
        };
        let opened = rest.matches('[').count();
        let rest = if rest.matches(']').count() > opened {
            rest.strip_suffix(']')?
        } else {
            rest
        };
        let rest = rest
            .split_once('/')
            .map_or(rest, |(address, _nonce)| address);
        match (rest.parse::<SocketAddr>(), ip(rest)) {
            (Ok(address), _) => found.push(Monitor {
                address,
                protocol: protocol.or_else(|| match address.port() {
                    FIRST_PORT => Some(Protocol::First),
                    SECOND_PORT => Some(Protocol::Second),
                    _ => None,
                }),
            }),
            (Err(_), Some(ip)) => {
                let usual = [
                    (Protocol::First, FIRST_PORT),
                    (Protocol::Second, SECOND_PORT),
                ];
                let wanted = usual
                    .into_iter()
                    .filter(|(one, _)| protocol.is_none_or(|protocol| protocol == *one));
                found.extend(wanted.map(|(protocol, port)| Monitor {
                    address: SocketAddr::new(ip, port),
                    protocol: Some(protocol),
                }));
            }
            (Err(_), None) => return None,
        }
    }
    (!found.is_empty()).then_some(found)
}

fn ip(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(text).parse().ok()
}

/// The protocol that map options ask for.
#[must_use]
pub(super) fn asked_for(options: &str) -> Option<Protocol> {
    let mode = options
        .split(',')
        .filter_map(|option| option.trim().strip_prefix("ms_mode="))
        .next_back()?;
    Some(match mode {
        "legacy" => Protocol::First,
        _ => Protocol::Second,
    })
}

/// The monitors that are worth asking.
#[must_use]
pub(super) fn worth_asking(monitors: &[Monitor], asked: Option<Protocol>) -> Vec<Monitor> {
    let fits = |monitor: &&Monitor| match (asked, monitor.protocol) {
        (Some(asked), Some(known)) => asked == known,
        (None, _) | (_, None) => true,
    };
    monitors.iter().filter(fits).copied().collect()
}

/// Whether these are the first words of a daemon that speaks the protocol wanted most.
#[must_use]
pub(super) fn enough(asked: Option<Protocol>) -> fn(&[u8]) -> bool {
    match asked {
        None | Some(Protocol::First) => |words| words.starts_with(FIRST_WORDS),
        Some(Protocol::Second) => |words| words.starts_with(SECOND_WORDS),
    }
}

/// What to tell the kernel, by what the monitors have said: the first version if one of them speaks
/// it, because every kernel does. `None` when none speaks what is wanted.
#[must_use]
pub(super) fn choose(
    monitors: &[Monitor],
    answers: &[Answer],
    asked: Option<Protocol>,
) -> Option<Choice> {
    let spoken = |answer: &Answer| match answer {
        Answer::Said(words) if words.starts_with(FIRST_WORDS) => Some(Protocol::First),
        Answer::Said(words) if words.starts_with(SECOND_WORDS) => Some(Protocol::Second),
        Answer::Said(_) | Answer::Nothing | Answer::Refused(_) | Answer::Silence => None,
    };
    let heard = |protocol: Protocol| {
        answers
            .iter()
            .any(|answer| spoken(answer) == Some(protocol))
    };
    let wanted = [Protocol::First, Protocol::Second]
        .into_iter()
        .filter(|one| asked.is_none_or(|asked| asked == *one));
    let protocol = wanted.into_iter().find(|protocol| heard(*protocol))?;
    let addresses = monitors
        .iter()
        .zip(answers)
        .filter(|(monitor, answer)| {
            // One that is down now may be up when the others are not.
            spoken(answer).or(monitor.protocol) == Some(protocol)
        })
        .map(|(monitor, _)| monitor.address)
        .collect();
    Some(Choice {
        addresses,
        protocol,
    })
}

/// What each monitor has answered, for a message.
#[must_use]
pub(super) fn told(monitors: &[Monitor], answers: &[Answer]) -> String {
    let each = monitors.iter().zip(answers).map(|(monitor, answer)| {
        let address = monitor.address;
        match answer {
            Answer::Said(words) if words.starts_with(FIRST_WORDS) => {
                format!("{address} speaks the first version of the protocol")
            }
            Answer::Said(words) if words.starts_with(SECOND_WORDS) => {
                format!("{address} speaks the second version of the protocol")
            }
            Answer::Said(_) => format!("{address} is not Ceph"),
            Answer::Nothing => format!("{address} accepts connections but says nothing"),
            Answer::Refused(errno) => format!("{address} {errno}"),
            Answer::Silence => format!("{address} no answer"),
        }
    });
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use cuttle_host::Errno;

    use super::*;

    fn list(text: &str) -> Option<Vec<Monitor>> {
        let addresses = text.split(' ').map(str::to_owned).collect();
        read(&Monitors::new(addresses).unwrap())
    }

    fn shown(text: &str) -> String {
        let each = list(text).unwrap().into_iter().map(|monitor| {
            let protocol = match monitor.protocol {
                Some(Protocol::First) => "1",
                Some(Protocol::Second) => "2",
                None => "?",
            };
            format!("{protocol}={}", monitor.address)
        });
        each.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_form_of_an_address_is_read() {
        assert_eq!(
            shown("10.0.0.1:6789 10.0.0.2:3300"),
            "1=10.0.0.1:6789 2=10.0.0.2:3300"
        );
        assert_eq!(shown("10.0.0.1"), "1=10.0.0.1:6789 2=10.0.0.1:3300");
        assert_eq!(shown("v2:10.0.0.1"), "2=10.0.0.1:3300");
        assert_eq!(shown("10.0.0.1:7000"), "?=10.0.0.1:7000");
        assert_eq!(
            shown("[v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0]"),
            "2=10.0.0.1:3300 1=10.0.0.1:6789"
        );
        assert_eq!(
            shown("[v2:[fd00::1]:3300,v1:[fd00::1]:6789] [fd00::2]:6789 fd00::3"),
            "2=[fd00::1]:3300 1=[fd00::1]:6789 1=[fd00::2]:6789 1=[fd00::3]:6789 2=[fd00::3]:3300"
        );
        assert_eq!(list("mon.example.org:6789"), None);
        assert_eq!(list("10.0.0.1:6789,mon-b"), None);
    }

    #[test]
    fn the_protocol_is_chosen_by_what_the_monitors_speak() {
        let monitors = list("[v2:10.0.0.1:3300,v1:10.0.0.1:6789] 10.0.0.2:7000").unwrap();
        let said = |words: &[u8]| Answer::Said(words.to_vec());
        let refused = Answer::Refused(Errno::new(111));
        let addresses = |answers: &[Answer], asked| {
            choose(&monitors, answers, asked).map(|choice| {
                let each = choice.addresses.iter().map(ToString::to_string);
                (choice.protocol, each.collect::<Vec<_>>().join(","))
            })
        };
        let both = [said(b"ceph v2\n"), said(b"ceph v027"), said(b"ceph v2\n")];
        assert_eq!(
            addresses(&both, None),
            Some((Protocol::First, "10.0.0.1:6789".to_owned()))
        );
        assert_eq!(
            addresses(&both, Some(Protocol::Second)),
            Some((Protocol::Second, "10.0.0.1:3300,10.0.0.2:7000".to_owned()))
        );
        let second_only = [refused.clone(), refused.clone(), said(b"ceph v2\n")];
        assert_eq!(
            addresses(&second_only, None),
            Some((Protocol::Second, "10.0.0.1:3300,10.0.0.2:7000".to_owned()))
        );
        assert_eq!(addresses(&second_only, Some(Protocol::First)), None);
        let none = [refused, Answer::Nothing, Answer::Silence];
        assert_eq!(addresses(&none, None), None);
        assert_eq!(
            told(&monitors, &none),
            "10.0.0.1:3300 ECONNREFUSED, 10.0.0.1:6789 accepts connections but says nothing, \
             10.0.0.2:7000 no answer"
        );
    }

    #[test]
    fn the_last_mode_counts() {
        assert_eq!(asked_for("a,ms_mode=crc"), Some(Protocol::Second));
        assert_eq!(
            asked_for("ms_mode=crc,ms_mode=legacy"),
            Some(Protocol::First)
        );
        assert_eq!(asked_for("lock_on_read"), None);
    }
}
