// The inbox: a phone for each number, drawn from /inbox.json and kept up by /inbox/events.
// Messages are untrusted: whatever comes with one is set as text, never as markup.
(() => {
  'use strict';

  const MESSAGES_PER_PHONE = 50;
  const PHONES = 200; // the latest active; a load test has more, and no one looks at them
  const A_HANDFUL = 4; // more phones than this bring the filter
  const A_CROWD = 7; // this many phones are drawn shorter
  const SEEN_AFTER_MS = 1500;
  const GATHER_MS = 40; // a burst is drawn once
  const RETRY_MS = 3000;

  // ---- the theme, before the first paint ----

  const root = document.documentElement;
  const darkSystem = matchMedia('(prefers-color-scheme: dark)');
  const theme = {
    recall() { try { return localStorage.getItem('countersign.theme'); } catch { return null; } },
    keep(name) { try { localStorage.setItem('countersign.theme', name); } catch { /* then not beyond this page */ } },
    isDark() { return root.dataset.theme ? root.dataset.theme === 'dark' : darkSystem.matches; },
  };
  if (['light', 'dark'].includes(theme.recall())) root.dataset.theme = theme.recall();

  // ---- words ----

  const LABELS = { sms: 'SMS', voice: 'Voice', email: 'Email', whatsapp: 'WhatsApp' };
  const ENCODINGS = {
    gsm7: { label: 'GSM-7', alone: 160, joined: 153 },
    ucs2: { label: 'UCS-2', alone: 70, joined: 67 },
  };
  const labelOf = (channel) => LABELS[channel] ?? channel;
  const plural = (n, word) => `${n} ${word}${n === 1 ? '' : 's'}`;

  const clockTime = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  const fullTime = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
  const longDay = new Intl.DateTimeFormat('en', { weekday: 'short', day: 'numeric', month: 'long' });
  const countries = new Intl.DisplayNames('en', { type: 'region' });

  function dayOf(at) {
    const day = new Date(at).toDateString();
    const yesterday = new Date();
    yesterday.setDate(yesterday.getDate() - 1);
    if (day === new Date().toDateString()) return 'Today';
    if (day === yesterday.toDateString()) return 'Yesterday';
    return longDay.format(at);
  }

  function countryName(code) {
    try { return countries.of(code); } catch { return code; }
  }

  // ---- numbers, grouped to be read ----

  const CODES_OF_TWO = new Set(('20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 '
    + '60 61 62 63 64 65 66 81 82 84 86 90 91 92 93 94 95 98').split(' '));
  const NATIONAL_GROUPS = { 1: [3, 3, 4], 33: [1, 2, 2, 2, 2], 44: [4, 6], 86: [3, 4, 4], 91: [5, 5] };

  function grouped(to) {
    if (!/^\+[1-9]\d{5,14}$/.test(to)) return to;
    const digits = to.slice(1);
    const length = '17'.includes(digits[0]) ? 1 : CODES_OF_TWO.has(digits.slice(0, 2)) ? 2 : 3;
    const code = digits.slice(0, length);
    let rest = digits.slice(length);
    const groups = [];
    const plan = NATIONAL_GROUPS[code];
    if (plan && plan.reduce((sum, n) => sum + n) === rest.length) {
      for (const n of plan) { groups.push(rest.slice(0, n)); rest = rest.slice(n); }
    } else {
      // By threes, and by fours at the end where threes leave a remainder.
      while (rest.length > 4 && rest.length !== 8) { groups.push(rest.slice(0, 3)); rest = rest.slice(3); }
      if (rest.length === 8) groups.push(rest.slice(0, 4), rest.slice(4));
      else groups.push(rest);
    }
    return `+${code} ${groups.join(' ')}`;
  }

  // ---- the anatomy of a message ----

  const ORIGIN_LINE = /^@[^\s#]+ #(\d{4,10})(?: .*)?$/; // what a browser reads: @host #123456
  const APP_HASH_LINE = /^[A-Za-z0-9+/]{11}$/; // what Android reads
  const STANDING_RUN = /(?<![A-Za-z0-9+])\d{4,10}(?![A-Za-z0-9])/;
  const ANY_RUN = /(?<!\d)\d{4,10}(?!\d)/;
  const SPOKEN_RUN = /\d(?:[\s.,…-]+\d){3,9}/; // "1, 2, 3, 4, 5, 6"

  /** Splits a text into what people read, the lines for machines below it, and the code with its place (-1: not in it). */
  function anatomy({ text, channel }) {
    const lines = text.replace(/\s+$/, '').split(/\r?\n/);
    const tail = [];
    let code = null;
    while (lines.length > 1) {
      const last = lines[lines.length - 1];
      const origin = ORIGIN_LINE.exec(last);
      if (!origin && !APP_HASH_LINE.test(last)) break;
      code ??= origin?.[1] ?? null;
      tail.unshift(lines.pop());
      while (lines.length > 1 && lines[lines.length - 1].trim() === '') lines.pop();
    }
    const body = lines.join('\n');
    if (code === null) {
      const run = STANDING_RUN.exec(body) ?? ANY_RUN.exec(body);
      if (run) return { body, tail, code: run[0], place: run.index };
      const spoken = channel === 'voice' ? SPOKEN_RUN.exec(body) : null;
      return { body, tail, code: spoken ? spoken[0].replace(/\D/g, '') : null, place: -1 };
    }
    const place = new RegExp(`(?<!\\d)${code}(?!\\d)`).exec(body)?.index ?? -1;
    return { body, tail, code, place };
  }

  function understood(raw) {
    if (raw === null || typeof raw !== 'object') return null;
    const word = (value) => (typeof value === 'string' && value !== '' ? value : null);
    const number = (value) => (Number.isFinite(value) ? value : null);
    const to = word(raw.to) ?? 'unknown';
    const text = word(raw.text) ?? '';
    const at = Date.parse(raw.at);
    return {
      to,
      text,
      id: word(raw.id) ?? `${to} ${raw.at} ${text}`,
      at: Number.isNaN(at) ? Date.now() : at,
      channel: (word(raw.channel) ?? 'sms').toLowerCase(),
      application: word(raw.application),
      locale: word(raw.locale),
      subject: word(raw.subject),
      encoding: word(raw.encoding)?.toLowerCase() ?? null,
      units: number(raw.units),
      segments: number(raw.segments),
      country: word(raw.country)?.toUpperCase() ?? null,
      priceClass: word(raw.price_class),
    };
  }

  // ---- drawing ----

  const $ = (id) => document.getElementById(id);
  const clone = (id) => $(id).content.firstElementChild.cloneNode(true);

  function element(name, className, text) {
    const node = document.createElement(name);
    node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  }

  function drawn(message) {
    const node = clone('message-template');
    const part = (name) => node.querySelector(`.${name}`);
    const { body, tail, code, place } = anatomy(message);
    node.dataset.testid = 'message';
    node.dataset.id = message.id;
    node.dataset.channel = message.channel;

    const text = part('text');
    if (message.locale) text.lang = message.locale;
    if (place >= 0) text.append(body.slice(0, place), chip(code), body.slice(place + code.length));
    else text.append(body);
    if (code !== null && place < 0) part('bubble').append(chip(code));
    for (const line of tail) {
      const forMachines = element('p', 'tail', line);
      forMachines.title = ORIGIN_LINE.test(line) ? 'For the browser: binds the code to this site' : 'For Android: names the app that may read this message';
      part('bubble').append(forMachines);
    }
    if (message.channel === 'voice') part('kind').append(clone('voice-template'), 'Voice call');
    if (message.channel === 'email') part('kind').append(clone('email-template'), message.subject ?? 'Email');
    part('kind').hidden = part('kind').childNodes.length === 0;

    part('badge').textContent = labelOf(message.channel);
    const time = node.querySelector('time');
    time.dateTime = new Date(message.at).toISOString();
    time.textContent = clockTime.format(message.at);
    time.title = fullTime.format(message.at);
    if (message.segments !== null) part('meta').append(cost(message));
    return node;
  }

  function chip(code) {
    const node = clone('code-template');
    node.querySelector('.code').textContent = code;
    const button = node.querySelector('.copy');
    button.setAttribute('aria-label', `Copy code ${code}`);
    return node;
  }

  function cost({ segments, encoding, units, country, priceClass }) {
    const known = ENCODINGS[encoding];
    const label = known?.label ?? encoding;
    const node = element('span', 'cost');
    node.dataset.testid = 'segments';
    node.dataset.segments = segments;
    node.textContent = [plural(segments, 'segment'), label, priceClass && `price class: ${priceClass}`].filter(Boolean).join(' · ');
    const why = ['Gateways bill by the segment.'];
    if (known && units !== null) {
      why.push(segments > 1
        ? `This text takes ${units} units of ${label}, and ${segments} segments of up to ${known.joined}.`
        : `This text takes ${units} of the ${known.alone} units that one segment holds in ${label}.`);
    }
    if (encoding === 'ucs2') why.push('One letter outside the GSM alphabet makes the whole text UCS-2, which holds 70 instead of 160.');
    if (priceClass) why.push(`A message ${country ? `to ${countryName(country)}` : 'there'} costs, by comparison, ${priceClass}.`);
    node.title = why.join(' ');
    return node;
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Not a secure context, or not allowed: the old way.
      const area = element('textarea', 'offstage');
      area.value = text;
      document.body.append(area);
      const focused = document.activeElement;
      area.select();
      const copied = document.execCommand('copy');
      area.remove();
      focused?.focus({ preventScroll: true });
      return copied;
    }
  }

  // ---- the page ----

  document.addEventListener('DOMContentLoaded', () => {
    const title = document.title;
    const calm = matchMedia('(prefers-reduced-motion: reduce)');
    const phones = new Map(); // by number
    const known = new Set(); // ids of the messages on the page
    let arrivals = 0;
    let loaded = false;

    const showTheme = () => $('theme').setAttribute('aria-pressed', String(theme.isDark()));
    $('theme').addEventListener('click', () => {
      root.dataset.theme = theme.isDark() ? 'light' : 'dark';
      theme.keep(root.dataset.theme);
      showTheme();
    });
    darkSystem.addEventListener('change', showTheme);
    showTheme();

    // ---- messages in ----

    /** Takes messages, oldest first; `quietly` those that were there before the page was. */
    function receive(raws, { quietly = false } = {}) {
      const fresh = [];
      for (const message of raws.map(understood)) {
        if (message === null || known.has(message.id)) continue;
        const phone = phones.get(message.to) ?? install(message.to);
        message.arrival = arrivals++;
        if (place(phone, message)) fresh.push(message);
      }
      if (fresh.length === 0) return refresh();
      const touched = new Set(fresh.map((message) => phones.get(message.to)));
      touched.forEach(head);
      touched.forEach(divide);
      arrange(quietly);
      const arrived = quietly ? [] : fresh.filter(({ id }) => known.has(id));
      for (const message of arrived) {
        message.node.classList.add('is-new');
        phones.get(message.to).unseen.add(message.id);
      }
      if (arrived.length > 0) announce(arrived);
      refresh();
      touched.forEach(follow);
      touched.forEach(watch);
    }

    /** Puts a message among its phone's by time; false if it is older than all that are kept. */
    function place({ kept, list, unseen }, message) {
      let at = kept.length;
      while (at > 0 && kept[at - 1].at > message.at) at -= 1;
      if (at === 0 && kept.length === MESSAGES_PER_PHONE) return false;
      message.node = drawn(message);
      list.insertBefore(message.node, kept[at]?.node ?? null);
      kept.splice(at, 0, message);
      known.add(message.id);
      if (kept.length > MESSAGES_PER_PHONE) {
        const oldest = kept.shift();
        oldest.node.remove();
        known.delete(oldest.id);
        unseen.delete(oldest.id);
      }
      return true;
    }

    function announce(fresh) {
      const [{ to, channel, text }] = fresh;
      const { code } = anatomy({ text, channel });
      const spelled = code ? ` Code ${[...code].join(' ')}.` : '';
      $('aloud').textContent = fresh.length === 1
        ? `New ${labelOf(channel)} message for ${grouped(to)}.${spelled}`
        : `${fresh.length} new messages.`;
    }

    // ---- phones ----

    function install(to) {
      const node = clone('phone-template');
      const part = (name) => node.querySelector(`.${name}`);
      const thread = part('thread');
      const phone = { to, node, part, thread, list: thread.querySelector('ol'), kept: [], unseen: new Set(), following: true, onScreen: false, timer: 0 };
      node.dataset.testid = 'phone';
      node.dataset.to = to;
      node.setAttribute('aria-label', grouped(to));
      part('number').textContent = grouped(to);
      part('number').title = to;
      thread.setAttribute('aria-label', `Messages to ${grouped(to)}`);
      part('clock').textContent = clockTime.format(Date.now());
      thread.addEventListener('scroll', () => {
        phone.following = thread.scrollHeight - thread.scrollTop - thread.clientHeight < 40;
        if (phone.following) part('latest').hidden = true;
      }, { passive: true });
      part('latest').addEventListener('click', () => {
        thread.focus({ preventScroll: true });
        thread.scrollTo({ top: thread.scrollHeight, behavior: calm.matches ? 'auto' : 'smooth' });
      });
      phones.set(to, phone);
      sight.observe(node);
      sizes.observe(thread);
      return phone;
    }

    function remove(phone) {
      sight.unobserve(phone.node);
      sizes.unobserve(phone.thread);
      clearTimeout(phone.timer);
      phone.kept.forEach(({ id }) => known.delete(id));
      phones.delete(phone.to);
      phone.node.remove();
    }

    const newest = ({ kept }) => kept[kept.length - 1];

    function head(phone) {
      const { country } = newest(phone);
      const applications = new Set(phone.kept.map(({ application }) => application));
      phone.part('avatar').textContent = phone.to.includes('@') ? '@' : country ?? '#';
      phone.part('whereabouts').textContent = [country && countryName(country), ...applications].filter(Boolean).join(' · ');
    }

    /** A divider wherever the day turns. */
    function divide({ kept, list }) {
      list.querySelectorAll('.day').forEach((divider) => divider.remove());
      let before = null;
      for (const { at, node } of kept) {
        const day = dayOf(at);
        if (day !== before) list.insertBefore(element('li', 'day', day), node);
        before = day;
      }
    }

    /** Keeps the end of a thread in view, unless someone is reading further up. */
    function follow({ following, thread, part }) {
      if (following) thread.scrollTop = thread.scrollHeight;
      else part('latest').hidden = false;
    }

    /** The latest active phone first. Those that move, glide. */
    function arrange(quietly) {
      const host = $('phones');
      const order = [...phones.values()].sort((a, b) => newest(b).at - newest(a).at || newest(b).arrival - newest(a).arrival);
      order.splice(PHONES).forEach(remove);
      const gliding = quietly || calm.matches || order.length > 40 ? [] : [...host.children].map((node) => [node, node.getBoundingClientRect()]);
      order.forEach(({ node, thread }, i) => {
        const there = host.children[i] ?? null;
        if (there === node) return;
        if (host.moveBefore && node.parentNode === host) return host.moveBefore(node, there);
        const top = thread.scrollTop; // an insertion loses it; moveBefore keeps it, and the focus
        host.insertBefore(node, there);
        thread.scrollTop = top;
      });
      for (const [node, from] of gliding) {
        const to = node.getBoundingClientRect();
        const [x, y] = [from.left - to.left, from.top - to.top];
        if (x || y) node.animate({ transform: [`translate(${x}px, ${y}px)`, 'none'] }, { duration: 450, easing: 'cubic-bezier(.2, .8, .2, 1)' });
      }
    }

    // ---- seen: its phone has been in view for a moment ----

    function watch(phone) {
      clearTimeout(phone.timer);
      if (!phone.onScreen || document.hidden || phone.unseen.size === 0) return;
      phone.timer = setTimeout(() => { phone.unseen.clear(); refresh(); }, SEEN_AFTER_MS);
    }
    const sight = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const phone = phones.get(target.dataset.to);
        if (!phone) continue;
        phone.onScreen = isIntersecting;
        watch(phone);
      }
    }, { threshold: 0.35 });
    const sizes = new ResizeObserver(() => {
      for (const { following, thread } of phones.values()) if (following) thread.scrollTop = thread.scrollHeight;
    });
    document.addEventListener('visibilitychange', () => phones.forEach(watch));

    // ---- what the page says of itself ----

    function refresh() {
      let unseen = 0;
      let messages = 0;
      for (const phone of phones.values()) {
        unseen += phone.unseen.size;
        messages += phone.kept.length;
        phone.part('unseen').hidden = phone.unseen.size === 0;
        phone.part('unseen').textContent = `${phone.unseen.size} new`;
      }
      document.title = unseen > 0 ? `(${unseen}) ${title}` : title;

      const query = $('query').value.trim().toLowerCase();
      const digits = query.replace(/[\s()-]/g, '');
      let shown = 0;
      for (const { to, kept, node } of phones.values()) {
        const match = query === '' || to.toLowerCase().includes(query) || (digits !== '' && to.includes(digits))
          || kept.some(({ text, channel, application }) => `${text} ${channel} ${application ?? ''}`.toLowerCase().includes(query));
        node.hidden = !match;
        if (match) shown += 1;
      }
      const all = `${phones.size === PHONES ? 'the latest ' : ''}${plural(phones.size, 'number')}, ${plural(messages, 'message')}`;
      const count = query === '' ? all : `${shown} of ${all}`;
      if ($('count').textContent !== count) $('count').textContent = count;
      $('filter').hidden = phones.size <= A_HANDFUL && query === '';
      $('none').hidden = shown > 0 || phones.size === 0;
      $('empty').hidden = !loaded || phones.size > 0;
      $('phones').dataset.crowd = String(phones.size >= A_CROWD);
    }

    $('filter').addEventListener('submit', (event) => event.preventDefault());
    $('query').addEventListener('input', refresh);
    const clearFilter = () => { $('query').value = ''; refresh(); };
    $('clear').addEventListener('click', () => { clearFilter(); $('phones').querySelector('.thread')?.focus(); });
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && event.target === $('query')) clearFilter();
      const typing = event.target.closest('input, textarea');
      if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey && !event.altKey && !$('filter').hidden) {
        event.preventDefault();
        $('query').focus();
      }
    });

    document.addEventListener('click', async (event) => {
      const button = event.target.closest('button.copy');
      if (!button) return;
      const text = button.dataset.copies ? $(button.dataset.copies).textContent : button.previousElementSibling.textContent;
      const copied = await copy(text);
      button.textContent = copied ? 'Copied' : 'Select it';
      button.dataset.copied = String(copied);
      $('aloud').textContent = copied ? 'Copied.' : 'The browser would not copy; select the text instead.';
      clearTimeout(button.resting);
      button.resting = setTimeout(() => { button.textContent = 'Copy'; delete button.dataset.copied; }, 1800);
    });

    // Clocks at each full minute, and at midnight "Today" becomes "Yesterday".
    let today = new Date().toDateString();
    (function tick() {
      for (const { part } of phones.values()) part('clock').textContent = clockTime.format(Date.now());
      if (today !== new Date().toDateString()) {
        today = new Date().toDateString();
        phones.forEach(divide);
      }
      setTimeout(tick, 60_000 - (Date.now() % 60_000) + 50);
    })();

    // ---- the lesson of the empty page ----

    const example = '+255694230173';
    const show = (id, ...parts) => parts.forEach((part, i) => $(id).append(i ? ' ' : '', element('span', '', part)));
    const call = (name) => `curl -X POST ${location.origin}/api/users/${name}/`;
    show('curl-send', call('send-otp'), `--data-urlencode 'phone=${example}'`);
    show('curl-verify', call('verify-otp'), `--data-urlencode 'phone=${example}'`, "-d 'otp=123456'");
    const idle = clone('phone-template');
    idle.querySelector('.number').textContent = grouped(example);
    idle.querySelector('.whereabouts').textContent = 'Waiting for a message';
    idle.querySelector('.avatar').textContent = 'TZ';
    idle.querySelector('.clock').textContent = clockTime.format(Date.now());
    idle.querySelector('.thread').replaceWith(element('div', 'waiting'));
    idle.querySelector('.waiting').append(...Array.from({ length: 3 }, () => element('span', '')));
    $('empty-phone').append(idle);

    // ---- the wire ----

    const load = async () => {
      try {
        const answer = await fetch('/inbox.json', { cache: 'no-store' });
        if (!answer.ok) throw new Error(`inbox.json: ${answer.status}`);
        const { messages } = await answer.json();
        const quietly = !loaded;
        loaded = true;
        receive(Array.isArray(messages) ? messages.reverse() : [], { quietly });
      } catch {
        if (!loaded) setTimeout(load, RETRY_MS);
      }
    };

    const state = (name, words) => {
      $('connection').dataset.state = name;
      $('connection').textContent = words;
    };

    let queue = [];
    function connect() {
      const source = new EventSource('/inbox/events');
      source.addEventListener('open', () => {
        state('live', 'Live');
        load(); // what came while nobody listened
      });
      source.addEventListener('error', () => {
        state('reconnecting', 'Reconnecting');
        if (source.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS); // refused outright: it would not try again
      });
      source.addEventListener('message', ({ data }) => {
        let message = null;
        try { message = JSON.parse(data); } catch { return; }
        if (queue.push(message) === 1) setTimeout(() => { const all = queue; queue = []; receive(all); }, GATHER_MS);
      });
    }

    load();
    connect();
  });
})();
