//! SMPP's units on the wire (SMPP 3.4, section 4 and 5): what we write, strictly; what we read, with the patience that vendors need.
//!
//! An SMSC that leaves out a closing NUL, sends a longer address than the document allows or half an optional parameter still reports
//! a delivery: the report is read as far as it goes. Only the length in front of a unit must be right, since without it nothing behind
//! it can be found.

/// `command_id`, of those that are spoken here.
pub(super) mod command {
    pub const GENERIC_NACK: u32 = 0x8000_0000;
    pub const BIND_RECEIVER: u32 = 0x01;
    pub const BIND_TRANSMITTER: u32 = 0x02;
    pub const SUBMIT_SM: u32 = 0x04;
    pub const DELIVER_SM: u32 = 0x05;
    pub const UNBIND: u32 = 0x06;
    pub const BIND_TRANSCEIVER: u32 = 0x09;
    pub const ENQUIRE_LINK: u32 = 0x15;
    pub const ALERT_NOTIFICATION: u32 = 0x102;
    pub const DATA_SM: u32 = 0x103;
    /// The bit that makes an answer of a request.
    pub const ANSWER: u32 = 0x8000_0000;
}

/// Optional parameters, of those that are spoken here.
pub(super) mod tag {
    pub const RECEIPTED_MESSAGE_ID: u16 = 0x001E;
    pub const SAR_MSG_REF_NUM: u16 = 0x020C;
    pub const SAR_TOTAL_SEGMENTS: u16 = 0x020E;
    pub const SAR_SEGMENT_SEQNUM: u16 = 0x020F;
    pub const NETWORK_ERROR_CODE: u16 = 0x0423;
    pub const MESSAGE_PAYLOAD: u16 = 0x0424;
    pub const MESSAGE_STATE: u16 = 0x0427;
}

/// Length, id, status and sequence number.
pub(super) const HEADER: usize = 16;

/// The longest unit that is read: an optional parameter holds 64 KiB at most, and nobody sends two of that size.
pub(super) const LONGEST: usize = 128 * 1024;

/// A unit as it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pdu<'a> {
    pub id: u32,
    pub status: u32,
    pub sequence: u32,
    pub body: &'a [u8],
}

/// The length in front of a unit is none: nothing behind it can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadLength;

/// The first unit of what has been read so far, and how long it is; `None` if some of it is still to come.
pub(super) fn first(read: &[u8]) -> Result<Option<(Pdu<'_>, usize)>, BadLength> {
    let Some(length) = word(read, 0) else { return Ok(None) };
    let length = length as usize;
    if !(HEADER..=LONGEST).contains(&length) {
        return Err(BadLength);
    }
    let Some(whole) = read.get(..length) else { return Ok(None) };
    let (Some(id), Some(status), Some(sequence)) = (word(whole, 4), word(whole, 8), word(whole, 12)) else {
        return Err(BadLength);
    };
    Ok(Some((Pdu { id, status, sequence, body: &whole[HEADER..] }, length)))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_be_bytes)
}

/// Writes one unit, and its length when it is done.
#[derive(Debug)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub fn new(id: u32, status: u32, sequence: u32) -> Self {
        // Room for all of it, so that growing leaves no copy of a code behind.
        let mut bytes = Vec::with_capacity(512);
        bytes.extend([0; 4]);
        for value in [id, status, sequence] {
            bytes.extend(value.to_be_bytes());
        }
        Self(bytes)
    }

    pub fn octet(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub fn octets(mut self, value: &[u8]) -> Self {
        self.0.extend(value);
        self
    }

    /// A C-octet string. What would end it early, or is not ASCII, is left out.
    pub fn text(mut self, value: &str) -> Self {
        self.0.extend(value.bytes().filter(|byte| byte.is_ascii() && *byte != 0));
        self.octet(0)
    }

    pub fn tlv(mut self, tag: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.0.extend(tag.to_be_bytes());
        self.0.extend(length.to_be_bytes());
        self.octets(&value[..usize::from(length)])
    }

    pub fn done(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}

/// What a bind asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bind<'a> {
    /// One of the three `BIND_…`.
    pub command: u32,
    pub system_id: &'a str,
    pub password: &'a str,
    pub system_type: &'a str,
    /// 0x34 or 0x50.
    pub version: u8,
}

impl Bind<'_> {
    pub fn write(&self, sequence: u32) -> Vec<u8> {
        let writer = Writer::new(self.command, 0, sequence);
        let writer = writer.text(self.system_id).text(self.password).text(self.system_type).octet(self.version);
        // addr_ton, addr_npi and address_range: whatever is for us.
        writer.octet(0).octet(0).text("").done()
    }
}

/// An address with its type of number and its numbering plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub ton: u8,
    pub npi: u8,
    pub digits: String,
}

/// A message, or one part of it.
#[derive(Clone, Debug)]
pub(super) struct Submit<'a> {
    pub service_type: &'a str,
    pub source: &'a Address,
    pub destination: &'a Address,
    pub esm_class: u8,
    pub validity_period: &'a str,
    pub registered_delivery: u8,
    pub data_coding: u8,
    /// At most 254 octets; empty where a payload is among the optional parameters.
    pub short_message: &'a [u8],
    pub tlvs: &'a [(u16, Vec<u8>)],
}

impl Submit<'_> {
    pub fn write(&self, sequence: u32) -> Vec<u8> {
        let mut writer = Writer::new(command::SUBMIT_SM, 0, sequence).text(self.service_type);
        for address in [self.source, self.destination] {
            writer = writer.octet(address.ton).octet(address.npi).text(&address.digits);
        }
        // protocol_id and priority_flag are the network's defaults; schedule_delivery_time is now.
        writer = writer.octet(self.esm_class).octet(0).octet(0).text("").text(self.validity_period);
        // replace_if_present_flag: never; sm_default_msg_id: none.
        writer = writer.octet(self.registered_delivery).octet(0).octet(self.data_coding).octet(0);
        let length = u8::try_from(self.short_message.len()).unwrap_or(u8::MAX);
        writer = writer.octet(length).octets(&self.short_message[..usize::from(length)]);
        for (tag, value) in self.tlvs {
            writer = writer.tlv(*tag, value);
        }
        writer.done()
    }
}

/// A request without a body.
pub(super) fn bare(id: u32, sequence: u32) -> Vec<u8> {
    Writer::new(id, 0, sequence).done()
}

/// The answer to a request.
pub(super) fn answer(request: u32, status: u32, sequence: u32) -> Vec<u8> {
    let writer = Writer::new(request | command::ANSWER, status, sequence);
    match request {
        // message_id, which is not used.
        command::DELIVER_SM | command::DATA_SM => writer.octet(0).done(),
        _ => writer.done(),
    }
}

/// "I do not understand."
pub(super) fn nack(status: u32, sequence: u32) -> Vec<u8> {
    Writer::new(command::GENERIC_NACK, status, sequence).done()
}

/// What an SMSC delivers: a message, or a report about one of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Delivered<'a> {
    pub esm_class: u8,
    pub data_coding: u8,
    /// Where the text stands: in `short_message`, else in the payload.
    pub text: &'a [u8],
    pub receipted_message_id: Option<&'a [u8]>,
    pub message_state: Option<u8>,
    /// The network's own error, of which the first octet says which network's.
    pub network_error: Option<u16>,
}

impl<'a> Delivered<'a> {
    /// Reads the body of a `deliver_sm` or a `data_sm`, as far as it goes.
    pub fn read(id: u32, body: &'a [u8]) -> Self {
        let mut rest = Body(body);
        let mut delivered = Self::default();
        rest.text();
        for _address in 0..2 {
            rest.octet();
            rest.octet();
            rest.text();
        }
        delivered.esm_class = rest.octet();
        if id == command::DELIVER_SM {
            // protocol_id, priority_flag; two times; registered_delivery, replace_if_present_flag.
            rest.octet();
            rest.octet();
            rest.text();
            rest.text();
            rest.octet();
            rest.octet();
            delivered.data_coding = rest.octet();
            rest.octet();
            let length = rest.octet();
            delivered.text = rest.take(usize::from(length));
        } else {
            rest.octet();
            delivered.data_coding = rest.octet();
        }
        while let Some((tag, value)) = rest.tlv() {
            match (tag, value) {
                (tag::RECEIPTED_MESSAGE_ID, value) => delivered.receipted_message_id = Some(until_nul(value)),
                // One octet; some send a wider number.
                (tag::MESSAGE_STATE, [.., state]) => delivered.message_state = Some(*state),
                (tag::NETWORK_ERROR_CODE, [.., high, low]) => {
                    delivered.network_error = Some(u16::from_be_bytes([*high, *low]));
                }
                (tag::MESSAGE_PAYLOAD, value) if delivered.text.is_empty() => delivered.text = value,
                _ => {}
            }
        }
        delivered
    }
}

/// The C-octet string at the beginning of an answer: a `message_id`, or the SMSC's name.
pub(super) fn leading_text(body: &[u8]) -> Option<&str> {
    std::str::from_utf8(until_nul(body)).ok().map(str::trim).filter(|text| !text.is_empty())
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// What is left to read. Behind its end there are zeros.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn octet(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn text(&mut self) -> &'a [u8] {
        let text = until_nul(self.0);
        self.take(text.len() + 1);
        text
    }

    fn tlv(&mut self) -> Option<(u16, &'a [u8])> {
        let [high, low, longer, long, ..] = *self.0 else { return None };
        self.take(4);
        let value = self.take(usize::from(u16::from_be_bytes([longer, long])));
        Some((u16::from_be_bytes([high, low]), value))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use proptest::prelude::*;
    use rusmpp_core::CommandId;
    use rusmpp_core::command::owned::Command;
    use rusmpp_core::decode::owned::DecodeWithLength;
    use rusmpp_core::pdus::owned::Pdu as TheirPdu;

    use super::*;

    /// What another implementation reads of a unit of ours.
    fn theirs(bytes: &[u8]) -> Command {
        let mut body = tokio_util::bytes::BytesMut::from(&bytes[4..]);
        Command::decode(&mut body, bytes.len() - 4).unwrap().0
    }

    fn address(ton: u8, npi: u8, digits: &str) -> Address {
        Address { ton, npi, digits: digits.to_owned() }
    }

    #[test]
    fn another_implementation_reads_our_binds() {
        for id in [command::BIND_RECEIVER, command::BIND_TRANSMITTER, command::BIND_TRANSCEIVER] {
            let bind = Bind { command: id, system_id: "codes", password: "secret", system_type: "OTP", version: 0x34 };
            let read = theirs(&bind.write(7));
            assert_eq!((u32::from(read.id()), read.sequence_number()), (id, 7));
            let shown = format!("{:?}", read.pdu().unwrap());
            assert!(shown.contains("\"codes\"") && shown.contains("\"OTP\"") && shown.contains("Smpp3_4"), "{shown}");
        }
        for bare_id in [command::ENQUIRE_LINK, command::UNBIND] {
            assert_eq!(u32::from(theirs(&bare(bare_id, 9)).id()), bare_id);
        }
        let nacked = theirs(&nack(2, 3));
        assert_eq!((nacked.id(), u32::from(nacked.status())), (CommandId::GenericNack, 2));
        assert_eq!(theirs(&answer(command::DELIVER_SM, 0, 3)).id(), CommandId::DeliverSmResp);
    }

    fn delivery(text: &[u8], tlvs: &[u8]) -> Vec<u8> {
        let mut body = vec![0, 1, 1];
        body.extend(b"255694230173\0");
        body.extend([5, 0]);
        body.extend(b"MyApp\0");
        body.extend([4, 0, 0, 0, 0, 0, 0, 3, 0, u8::try_from(text.len()).unwrap()]);
        body.extend(text);
        body.extend(tlvs);
        body
    }

    fn tlv(tag: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = tag.to_be_bytes().to_vec();
        bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        bytes.extend(value);
        bytes
    }

    #[test]
    fn a_report_is_read_as_far_as_it_goes() {
        let whole = [tlv(0x1E, b"abc\0"), tlv(0x0427, &[2]), tlv(0x0423, &[3, 0, 34])].concat();
        let body = delivery(b"id:abc", &whole);
        let read = Delivered::read(command::DELIVER_SM, &body);
        let expected = Delivered {
            esm_class: 4,
            data_coding: 3,
            text: b"id:abc",
            receipted_message_id: Some(b"abc"),
            message_state: Some(2),
            network_error: Some(34),
        };
        assert_eq!(read, expected);
        // No NUL behind the id; a state of two octets; an optional parameter of which half is missing; padding.
        for (tlvs, id, state) in [
            (tlv(0x1E, b"abc"), Some(&b"abc"[..]), None),
            (tlv(0x0427, &[0, 2]), None, Some(2)),
            (vec![0, 0x1E, 0, 9, b'a'], Some(&b"a"[..]), None),
            (vec![0, 0], None, None),
        ] {
            let body = delivery(b"id:abc", &tlvs);
            let read = Delivered::read(command::DELIVER_SM, &body);
            assert_eq!((read.receipted_message_id, read.message_state, read.text), (id, state, &b"id:abc"[..]));
        }
        let payload = tlv(0x0424, b"id:long");
        let body = delivery(b"", &payload);
        assert_eq!(Delivered::read(command::DELIVER_SM, &body).text, b"id:long");
        let mut data = vec![0, 1, 1, b'1', 0, 1, 1, b'2', 0, 4, 0, 8];
        data.extend(tlv(0x0424, b"id:data"));
        let read = Delivered::read(command::DATA_SM, &data);
        assert_eq!((read.esm_class, read.data_coding, read.text), (4, 8, &b"id:data"[..]));
    }

    #[test]
    fn a_length_that_cannot_be_is_told() {
        for length in [0_u32, 15, LONGEST as u32 + 1, u32::MAX] {
            assert_eq!(first(&[&length.to_be_bytes()[..], &[0; 40]].concat()), Err(BadLength));
        }
        assert_eq!(first(&[0, 0, 0]), Ok(None));
        assert_eq!(first(&[0, 0, 0, 16, 0]), Ok(None));
    }

    proptest! {
        #[test]
        fn nothing_that_is_read_panics(bytes in prop::collection::vec(any::<u8>(), 0..400), id in prop_oneof![Just(5_u32), Just(0x103)]) {
            let _ = first(&bytes);
            let _ = Delivered::read(id, &bytes);
            let _ = leading_text(&bytes);
        }

        /// Wherever the network cuts a stream of units, the same units come out.
        #[test]
        fn units_survive_any_cut(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..5), size in 1..40_usize) {
            let stream: Vec<u8> = bodies.iter().zip(1..).flat_map(|(body, n)| Writer::new(5, n, n).octets(body).done()).collect();
            let (mut read, mut found) = (Vec::new(), Vec::new());
            for piece in stream.chunks(size) {
                read.extend(piece);
                while let Some((pdu, length)) = first(&read).unwrap() {
                    found.push(pdu.body.to_vec());
                    read.drain(..length);
                }
            }
            prop_assert!(read.is_empty());
            prop_assert_eq!(found, bodies);
        }

        /// Another implementation reads of our `submit_sm` what was put into it.
        #[test]
        fn another_implementation_reads_our_messages(
            short in prop::collection::vec(any::<u8>(), 0..=254), payload in prop::option::of(prop::collection::vec(any::<u8>(), 1..300)),
            esm_class in prop_oneof![Just(0_u8), Just(0x40)], coding in prop_oneof![Just(0_u8), Just(3), Just(8)],
            sender in "[A-Za-z0-9 ]{1,11}", number in "[1-9][0-9]{6,14}"
        ) {
            let tlvs: Vec<_> = payload.iter().map(|payload| (tag::MESSAGE_PAYLOAD, payload.clone())).collect();
            let (source, destination) = (address(5, 0, &sender), address(1, 1, &number));
            let submit = Submit {
                service_type: "", source: &source, destination: &destination, esm_class, validity_period: "000000000500000R",
                registered_delivery: 1, data_coding: coding, short_message: &short, tlvs: &tlvs,
            };
            let read = theirs(&submit.write(0x7FFF_FFFF));
            prop_assert_eq!(read.sequence_number(), 0x7FFF_FFFF);
            let Some(TheirPdu::SubmitSm(sm)) = read.pdu() else { return Err(TestCaseError::fail("no submit_sm")) };
            prop_assert_eq!(&sm.short_message().clone().into_bytes()[..], &short[..]);
            prop_assert_eq!(sm.source_addr.to_string(), sender);
            prop_assert_eq!(sm.destination_addr.to_string(), number);
            prop_assert_eq!((u8::from(sm.source_addr_ton), u8::from(sm.dest_addr_ton)), (5, 1));
            prop_assert_eq!(u8::from(sm.data_coding), coding);
            prop_assert_eq!(u8::from(sm.esm_class), esm_class);
            prop_assert_eq!(u8::from(sm.registered_delivery), 1);
            prop_assert_eq!(sm.validity_period.to_string(), "000000000500000R");
            prop_assert_eq!(sm.tlvs().len(), tlvs.len());
        }
    }
}
