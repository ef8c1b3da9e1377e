// The whole story of Twilio Verify v2, told to Countersign by the official Node SDK, unmodified but for the base URL.
//
// COUNTERSIGN_URL, ACCOUNT_SID, AUTH_TOKEN, KEY_SID and KEY_SECRET say where and who. Codes are read from the inbox, as a phone would.
// Prints one line for each chapter; the first thing that is not as it should be ends it with a trace and exit code 1.

import assert from 'node:assert/strict';
import twilioOf from 'twilio';

const { COUNTERSIGN_URL: BASE, ACCOUNT_SID, AUTH_TOKEN, KEY_SID, KEY_SECRET } = process.env;

function client(user, secret, options = {}) {
  const made = twilioOf(user, secret, options);
  made.verify.baseUrl = BASE;
  return made;
}

const twilio = client(ACCOUNT_SID, AUTH_TOKEN);
let last = 200000;
const number = () => `+255694${last++}`;
const chapter = (name) => console.log('ok', name);
const wrong = (code) => String((Number(code) + 1) % 10 ** code.length).padStart(code.length, '0');

async function textsTo(to) {
  const inbox = await (await fetch(`${BASE}/inbox.json`)).json();
  return inbox.messages.filter((message) => message.to === to).map((message) => message.text);
}

async function codeOf(to) {
  for (let tries = 0; tries < 200; tries++) {
    const [text] = await textsTo(to);
    if (text) return text.match(/\b\d{4,10}\b/)[0];
    await new Promise((done) => setTimeout(done, 20));
  }
  throw new Error(`no message to ${to}`);
}

const refused = (status, code, call) =>
  assert.rejects(call, (error) => {
    assert.deepEqual([error.status, error.code], [status, code], error.message);
    assert.equal(error.moreInfo, `https://www.twilio.com/docs/errors/${code}`);
    return true;
  });

// Services, and pages of them.
const service = await twilio.verify.v2.services.create({ friendlyName: 'Story', codeLength: 6, lookupEnabled: true });
assert.match(service.sid, /^VA[0-9a-f]{32}$/);
assert.deepEqual([service.accountSid, service.codeLength, service.lookupEnabled], [ACCOUNT_SID, 6, true]);
assert.ok(service.dateCreated instanceof Date && !Number.isNaN(service.dateCreated.valueOf()));
assert.ok(service.url.startsWith(`${BASE}/v2/Services/VA`), service.url);
assert.equal((await twilio.verify.v2.services(service.sid).update({ friendlyName: 'Story two' })).friendlyName, 'Story two');
assert.equal((await twilio.verify.v2.services(service.sid).fetch()).friendlyName, 'Story two');
await refused(400, 60200, () => twilio.verify.v2.services.create({ friendlyName: '1234567' }));
await refused(404, 20404, () => twilio.verify.v2.services(`VA${'0'.repeat(32)}`).fetch());
for (let n = 0; n < 5; n++) await twilio.verify.v2.services.create({ friendlyName: `Page ${n}` });
const services = await twilio.verify.v2.services.list({ pageSize: 2 });
assert.ok(services.length >= 7 && new Set(services.map((one) => one.sid)).size === services.length);
const first = await twilio.verify.v2.services.page({ pageSize: 2 });
const back = await (await first.nextPage()).previousPage();
assert.deepEqual(back.instances.map((one) => one.sid), first.instances.map((one) => one.sid));
for (const one of services.filter((one) => one.friendlyName.startsWith('Page '))) {
  assert.equal(await twilio.verify.v2.services(one.sid).remove(), true);
}
chapter('services and paging');

const verify = twilio.verify.v2.services(service.sid);

// A code is sent, sent again, checked wrong, checked right, once.
let to = number();
let sent = await verify.verifications.create({ to, channel: 'sms', tags: JSON.stringify({ order: '12' }) });
assert.deepEqual([sent.to, sent.channel, sent.status, sent.valid], [to, 'sms', 'pending', false]);
assert.equal(sent.lookup.carrier.type, 'mobile');
let code = await codeOf(to);
const again = await verify.verifications.create({ to, channel: 'sms' });
assert.deepEqual([again.sid, again.sendCodeAttempts.length], [sent.sid, 2]);
assert.equal((await verify.verifications(to).fetch()).sid, sent.sid);
assert.equal((await verify.verifications(sent.sid).fetch()).status, 'pending');
let check = await verify.verificationChecks.create({ to, code: wrong(code) });
assert.deepEqual([check.status, check.valid], ['pending', false]);
check = await verify.verificationChecks.create({ verificationSid: sent.sid, code });
assert.deepEqual([check.status, check.valid, check.sid], ['approved', true, sent.sid]);
await refused(404, 20404, () => verify.verificationChecks.create({ to, code }));
await refused(404, 20404, () => verify.verifications(sent.sid).fetch());
chapter('send, send again, check');

to = number();
sent = await verify.verifications.create({ to, channel: 'sms' });
code = await codeOf(to);
for (let guess = 0; guess < 5; guess++) {
  const asked = guess % 2 ? { to } : { verificationSid: sent.sid };
  assert.equal((await verify.verificationChecks.create({ ...asked, code: wrong(code) })).valid, false);
}
await refused(429, 60202, () => verify.verificationChecks.create({ to, code }));
to = number();
sent = await verify.verifications.create({ to, channel: 'sms' });
for (let more = 0; more < 4; more++) await verify.verifications.create({ to, channel: 'sms' });
await refused(429, 60203, () => verify.verifications.create({ to, channel: 'sms' }));
assert.equal((await verify.verifications(sent.sid).update({ status: 'canceled' })).status, 'canceled');
chapter('five guesses, five sends, cancel');

await refused(400, 60200, () => verify.verifications.create({ to: '12', channel: 'sms' }));
await refused(400, 60200, () => verify.verifications.create({ to, channel: 'pigeon' }));
await refused(400, 60221, () => verify.verificationChecks.create({ code: '123456' }));
await refused(400, 60200, () => verify.verificationChecks.create({ to, code: '12' }));
await refused(403, 60605, () => verify.verifications.create({ to: '+447400123456', channel: 'sms' }));
await refused(403, 60205, () => verify.verifications.create({ to: '+255222123456', channel: 'sms' }));
chapter('refusals');

// Rate limits of one's own; webhooks with a repeated key; the safe list.
const limit = await verify.rateLimits.create({ uniqueName: 'per_session' });
const bucket = await verify.rateLimits(limit.sid).buckets.create({ max: 1, interval: 60 });
assert.deepEqual([bucket.max, bucket.interval], [1, 60]);
const rateLimits = { per_session: 's1' };
await verify.verifications.create({ to: number(), channel: 'sms', rateLimits });
await refused(429, 20429, () => verify.verifications.create({ to: number(), channel: 'sms', rateLimits }));
assert.equal((await verify.rateLimits(limit.sid).buckets.list()).length, 1);
assert.equal(await verify.rateLimits(limit.sid).remove(), true);
const hook = await verify.webhooks.create({
  friendlyName: 'hook', eventTypes: ['factor.created', 'verification.approved'], webhookUrl: 'https://app.example/hook',
});
assert.deepEqual(hook.eventTypes, ['factor.created', 'verification.approved']);
assert.equal(await verify.webhooks(hook.sid).remove(), true);
const safe = await twilio.verify.v2.safelist.create({ phoneNumber: '+447400123456' });
assert.equal((await twilio.verify.v2.safelist(safe.phoneNumber).fetch()).sid, safe.sid);
assert.equal((await verify.verifications.create({ to: safe.phoneNumber, channel: 'sms' })).status, 'pending');
assert.equal(await twilio.verify.v2.safelist(safe.phoneNumber).remove(), true);
chapter('rate limits, webhooks, the safe list');

const attempts = await twilio.verify.v2.verificationAttempts.list({ verifyServiceSid: service.sid, pageSize: 4 });
assert.ok(attempts.length === 10 && new Set(attempts.map((one) => one.sid)).size === attempts.length);
const one = attempts.find((attempt) => attempt.conversionStatus === 'converted');
assert.equal((await twilio.verify.v2.verificationAttempts(one.sid).fetch()).channelData.to, one.channelData.to);
const summary = await twilio.verify.v2.verificationAttemptsSummary().fetch({ verifyServiceSid: service.sid });
assert.equal(summary.totalAttempts, attempts.length);
assert.equal(summary.totalConverted + summary.totalUnconverted, summary.totalAttempts);
const templates = await twilio.verify.v2.templates.list();
assert.ok(templates.some((template) => template.friendlyName === 'default' && template.translations.en));
chapter('attempts, summary, templates');

const key = client(KEY_SID, KEY_SECRET, { accountSid: ACCOUNT_SID });
assert.equal((await key.verify.v2.services(service.sid).fetch()).sid, service.sid);
await refused(401, 20003, () => client(ACCOUNT_SID, '0'.repeat(32)).verify.v2.services.list());
await refused(401, 20003, () => client(KEY_SID, AUTH_TOKEN, { accountSid: ACCOUNT_SID }).verify.v2.services.list());
chapter('credentials');

assert.equal(await twilio.verify.v2.services(service.sid).remove(), true);
await refused(404, 20404, () => verify.verifications.create({ to, channel: 'sms' }));
chapter('the end');
