//! `meshsim export pcapng`: messages as packets (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html>).
//!
//! They have the link type of protocol data that Wireshark itself exports, so no plug-in is needed: tags name the
//! dissector, the addresses and the protocol, and the content is JSON.

use std::io::{self, Write};

use meshsim_actor::{ActorId, Time};
use meshsim_experiment::printable;
use meshsim_report::plural;
use serde_json::json;

use super::{Began, Common, Exporter, Form, Told};
use crate::error::{Error, Exit};
use crate::flow::Item;
use crate::flow::messages::{Copy, Fared, Messages};
use crate::flow::words::Names;
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Messages as packets, for Wireshark and tshark";

pub(super) const HELP: &str = "\
Opened by Wireshark and tshark from 2.6 on, without a plug-in.
  meshsim export pcapng last -o run.pcapng
  tshark -r run.pcapng -N n -Y 'json.key == \"lost\"'
  tshark -r run.pcapng -Y 'json.value.string == \"heartbeat\"' | wc -l

A packet is a message at the moment at which it arrived or was lost; a doubled one is two. Its content is JSON: who, to \
whom, what, when it was sent, how it fared. Each actor has an address, whose name `-N n` (or View, Name Resolution) shows.";

/// Of protocol data that Wireshark exports.
const LINK_TYPE: u16 = 252;
/// A port number, which nothing hangs on.
const PORT: u32 = 7_700;
/// Actors that are named in one block.
const NAMES_PER_BLOCK: usize = 1_000;
/// Bytes of a name. Wireshark keeps no longer ones.
const NAME_BYTES_MAX: usize = 60;

/// Options of any block, of the section and of the interface.
const COMMENT: u16 = 1;
const APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const TIME_RESOLUTION: u16 = 9;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    began: Began,
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        super::execute(&self.common, Form::Binary, screen, |source| {
            let (names, messages) = (&source.names, Messages::default());
            Box::new(Pcapng { names, began: self.began, messages, message_count: 0 })
        })
    }
}

struct Pcapng<'a> {
    names: &'a Names,
    began: Began,
    messages: Messages,
    message_count: u64,
}

/// A block: its type, and its content, which is a multiple of four bytes.
fn block(out: &mut dyn Write, kind: u32, content: &[u8]) -> io::Result<()> {
    let length = (content.len() as u32 + 12).to_le_bytes();
    out.write_all(&kind.to_le_bytes())?;
    out.write_all(&length)?;
    out.write_all(content)?;
    out.write_all(&length)
}

/// Zeros up to a multiple of four bytes.
fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// An option of a block, or a name of a name block: all lengths are without padding.
fn option(bytes: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    bytes.extend_from_slice(&code.to_le_bytes());
    bytes.extend_from_slice(&(value.len() as u16).to_le_bytes());
    bytes.extend_from_slice(value);
    pad(bytes);
}

/// A tag before the data. Its length counts the padding.
fn tag(bytes: &mut Vec<u8>, code: u16, value: &[u8]) {
    let length = value.len().next_multiple_of(4) as u16;
    bytes.extend_from_slice(&code.to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len() + usize::from(length) - value.len(), 0);
}

/// The address of an actor, in 10.0.0.0/8.
fn address(actor: ActorId) -> [u8; 4] {
    let [_, b, c, d] = (actor.0.wrapping_add(1)).to_be_bytes();
    [10, b, c, d]
}

impl Pcapng<'_> {
    fn names(&self, out: &mut dyn Write) -> io::Result<()> {
        let all: Vec<_> = (0..).map(ActorId).zip(self.names.actors()).collect();
        for some in all.chunks(NAMES_PER_BLOCK) {
            let mut content = Vec::new();
            for (actor, name) in some {
                let mut value = address(*actor).to_vec();
                let name = printable(name).replace(['\n', '\t', '\0'], " ");
                value.extend_from_slice(&name.as_bytes()[..name.floor_char_boundary(NAME_BYTES_MAX)]);
                value.push(0);
                option(&mut content, 1, &value);
            }
            option(&mut content, 0, &[]);
            block(out, 4, &content)?;
        }
        Ok(())
    }

    fn packet(&mut self, copy: &Copy, out: &mut dyn Write) -> io::Result<()> {
        self.message_count += u64::from(copy.copy == 0);
        let names = self.names;
        let (sent, about) = (&copy.sent, &copy.sent.about);
        let mut data = Vec::new();
        tag(&mut data, 12, b"json");
        tag(&mut data, 33, b"MESH");
        tag(&mut data, 20, &address(copy.id.from));
        tag(&mut data, 21, &address(sent.to));
        tag(&mut data, 24, &2_u32.to_be_bytes());
        tag(&mut data, 25, &PORT.to_be_bytes());
        tag(&mut data, 26, &PORT.to_be_bytes());
        tag(&mut data, 0, &[]);
        let mut json = json!({
            "message": format!("{}/{}", names.actor(copy.id.from), copy.id.seq),
            "type": sent.kind,
            "what": names.message(about),
            "from": names.actor(copy.id.from),
            "to": names.receiver(sent.to, about),
            "bytes": sent.bytes,
            "record": sent.seq,
            "sent_ns": sent.at.nanos(),
        });
        if let Some(service) = about.service {
            json["service"] = names.service(service).into();
        }
        if let Some(root) = about.root {
            json["request"] = names.request(root).into();
        }
        if let Some((first, _)) = about.steps {
            json["step"] = first.into();
        }
        if copy.copy > 0 {
            json["copy"] = copy.copy.into();
        }
        if sent.was_held {
            json["held"] = true.into();
        }
        let (at, comment): (Time, Option<String>) = match copy.fared {
            Fared::Arrived { at, is_late, .. } => {
                json["took_ns"] = at.since(sent.at).nanos().into();
                if is_late {
                    json["late"] = true.into();
                }
                (at, is_late.then(|| "late: its sender had given up".into()))
            }
            Fared::Lost { at, reason } => {
                json["lost"] = reason.into();
                (at, Some(format!("lost: {reason}")))
            }
            Fared::UnderWay => {
                json["in_flight"] = true.into();
                (sent.at, Some("in flight when the trace ended".into()))
            }
        };
        data.extend_from_slice(json.to_string().as_bytes());

        let nanos = self.began.nanos(at);
        let mut content = 0_u32.to_le_bytes().to_vec();
        let length = (data.len() as u32).to_le_bytes();
        for part in [((nanos >> 32) as u32).to_le_bytes(), (nanos as u32).to_le_bytes(), length, length] {
            content.extend_from_slice(&part);
        }
        content.append(&mut data);
        pad(&mut content);
        if let Some(comment) = comment {
            option(&mut content, COMMENT, comment.as_bytes());
            option(&mut content, 0, &[]);
        }
        block(out, 6, &content)
    }
}

impl Exporter for Pcapng<'_> {
    fn begin(&mut self, selection: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
        let mut section = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
        section.extend_from_slice(&[1, 0, 0, 0]);
        section.extend_from_slice(&u64::MAX.to_le_bytes());
        if let Some(selection) = selection {
            option(&mut section, COMMENT, format!("selected by {selection}").as_bytes());
        }
        option(&mut section, APPLICATION, concat!("meshsim ", env!("CARGO_PKG_VERSION")).as_bytes());
        option(&mut section, 0, &[]);
        block(out, 0x0a0d_0d0a, &section)?;

        let mut interface = u32::from(LINK_TYPE).to_le_bytes().to_vec();
        interface.extend_from_slice(&0_u32.to_le_bytes());
        option(&mut interface, INTERFACE_NAME, b"mesh");
        option(&mut interface, TIME_RESOLUTION, &[9]);
        option(&mut interface, 0, &[]);
        block(out, 1, &interface)?;
        self.names(out)
    }

    fn record(&mut self, item: &Item, is_wanted: bool, out: &mut dyn Write) -> io::Result<()> {
        match self.messages.take(item, is_wanted) {
            Some(copy) => self.packet(&copy, out),
            None => Ok(()),
        }
    }

    fn is_waiting(&self) -> bool {
        self.messages.is_waiting()
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<Told> {
        let messages = std::mem::take(&mut self.messages);
        let left_out = messages.left_out();
        messages.rest().collect::<Vec<_>>().iter().try_for_each(|copy| self.packet(copy, out))?;
        if !left_out.is_empty() {
            // Statistics of the interface, without any.
            let mut content = vec![0; 12];
            left_out.iter().for_each(|why| option(&mut content, COMMENT, why.as_bytes()));
            option(&mut content, 0, &[]);
            block(out, 5, &content)?;
        }
        Ok(Told { holds: plural(self.message_count, "message"), left_out })
    }
}
