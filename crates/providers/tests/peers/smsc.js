// An SMSC (node-smpp) for the tests of the provider `smpp`.
//
// It writes a line of JSON for everything that happens: {"ready": port}, {"bound": kind}, {"submit": …}, {"accepted": destination},
// {"answered": status of a deliver_sm_resp}, {"unbound": true}, {"closed": true}. What it does with a message depends on the last three
// digits of the destination. `--key` and `--cert` make it speak TLS; `--ids hex|decimal` says how its reports write the ids of its answers.
'use strict';
const fs = require('fs');
const smpp = require('smpp');

const options = {};
for (let i = 2; i < process.argv.length; i += 2) options[process.argv[i].slice(2)] = process.argv[i + 1];
const tell = (what) => process.stdout.write(JSON.stringify(what) + '\n');

const REFUSALS = { '011': 0x0b, '014': 0x14, '064': 0x64, '066': 0x66, '008': 0x08, '004': 0x401 };
let next = 0xa0;
let throttled = Number(options.throttle || 0);
let opened = 0;
const asked = new Set();

function report(session, pdu, id, state, more) {
  const words = { 2: 'DELIVRD', 5: 'UNDELIV', 3: 'EXPIRED' };
  const shown = options.ids === 'decimal' ? String(parseInt(id, 16)) : options.ids === 'text' ? id.toLowerCase() : id;
  const text =
    `id:${shown} sub:001 dlvrd:001 submit date:2311142213 done date:2311142214 stat:${words[state]} err:034 text:Your code`;
  const values = {
    source_addr: pdu.destination_addr,
    destination_addr: pdu.source_addr,
    esm_class: 4,
    data_coding: 1,
    short_message: text,
  };
  if (options.ids === undefined) Object.assign(values, { receipted_message_id: id, message_state: state });
  session.deliver_sm(Object.assign(values, more), (resp) => {
    tell({ answered: resp.command_status });
    // A temporary failure: again a little later, as an SMSC does.
    if (resp.command_status === 0x64) setTimeout(() => report(session, pdu, id, state, more), 200);
  });
}

function take(session, pdu) {
  const digits = pdu.destination_addr.slice(-3);
  const message = pdu.short_message || {};
  const payload = pdu.message_payload;
  tell({
    submit: pdu.destination_addr,
    text: message.message ? message.message.toString() : '',
    payload: payload ? (payload.message !== undefined ? payload.message.toString() : String(payload)) : null,
    udh: message.udh ? Buffer.concat([].concat(message.udh)).toString('hex') : null,
    source: pdu.source_addr,
    source_ton: pdu.source_addr_ton,
    source_npi: pdu.source_addr_npi,
    dest_ton: pdu.dest_addr_ton,
    dest_npi: pdu.dest_addr_npi,
    data_coding: pdu.data_coding,
    esm_class: pdu.esm_class,
    validity: pdu.validity_period,
    registered_delivery: pdu.registered_delivery,
    sar: [pdu.sar_msg_ref_num, pdu.sar_total_segments, pdu.sar_segment_seqnum],
    session: session.number,
  });
  if (throttled > 0) {
    throttled -= 1;
    return session.send(pdu.response({ command_status: 0x58 }));
  }
  if (REFUSALS[digits] !== undefined) return session.send(pdu.response({ command_status: REFUSALS[digits] }));
  const id = (next++).toString(16).toUpperCase().padStart(8, '0');
  const accept = () => {
    tell({ accepted: pdu.destination_addr });
    session.send(pdu.response({ message_id: id }));
  };
  const before = next;
  switch (digits) {
    case '007': // Never answers.
      return;
    case '017': // Hangs up.
      return session.socket.destroy();
    case '027': // Answers with what is not SMPP.
      return session.socket.write(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'));
    case '037': // Half open: takes nothing more, says nothing more, and stays.
      return session.socket.pause();
    case '047': // Takes its time.
      return setTimeout(accept, 800);
    case '058': // Throttled, the first time.
      if (asked.has(pdu.destination_addr)) return accept();
      asked.add(pdu.destination_addr);
      return session.send(pdu.response({ command_status: 0x58 }));
    case '005':
      accept();
      return report(session, pdu, id, 2);
    case '006': // The report is faster than the answer.
      report(session, pdu, id, 2);
      return setTimeout(accept, 150);
    case '009':
      accept();
      return report(session, pdu, id, 5);
    case '010': // A message of somebody's, and then the answer.
      session.deliver_sm({ source_addr: '1', destination_addr: '2', short_message: 'STOP' }, (resp) =>
        tell({ answered: resp.command_status }),
      );
      return accept();
    case '018': // Ends the session in order.
      accept();
      return session.unbind();
    default:
      return setTimeout(accept, Number(options.delay || 0), before);
  }
}

const tls = options.key ? { key: fs.readFileSync(options.key), cert: fs.readFileSync(options.cert) } : {};
const server = smpp.createServer(tls, (session) => {
  session.number = ++opened;
  for (const kind of ['transceiver', 'transmitter', 'receiver']) {
    session.on(`bind_${kind}`, (pdu) => {
      const status = pdu.system_id !== 'codes' ? 0x0f : pdu.password !== 'secret' ? 0x0e : 0;
      session.send(pdu.response({ command_status: status, system_id: 'smsc' }));
      if (status === 0) tell({ bound: kind, version: pdu.interface_version, type: pdu.system_type });
    });
  }
  session.on('submit_sm', (pdu) => take(session, pdu));
  session.on('enquire_link', (pdu) => {
    tell({ enquired: true });
    session.send(pdu.response());
  });
  session.on('unbind', (pdu) => {
    tell({ unbound: true });
    session.send(pdu.response());
  });
  session.on('close', () => tell({ closed: true }));
  session.on('error', () => {});
});
server.on('error', () => {});
server.listen(0, '127.0.0.1', () => tell({ ready: server.address().port }));
// Ends with whoever started it.
process.stdin.on('end', () => process.exit(0)).resume();
