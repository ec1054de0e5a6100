'use strict';
const base = '/__admin';
const byId = (id) => document.getElementById(id);
const examples = {
  'an error, the next 3 times': { match: { path: '/**' }, times: 3, response: { status: 503, json: { error: 'unavailable' } } },
  'slow, from a distribution': { match: { path: '/**' }, delay: { lognormal: { median: '200ms', sigma: 0.8, max: '5s' } } },
  'one of ten connections is reset': { match: { path: '/**' }, probability: 0.1, fault: 'reset_before' },
  'reset within the body': { match: { path: '/**' }, fault: 'reset_in_body' },
  'no answer': { match: { path: '/**' }, fault: { kind: 'hang', max: '60s' } },
  'a few bytes at a time': { match: { path: '/**' }, fault: { kind: 'dribble', size: 8, every: '50ms' } },
  'an outage of 10 s in each minute': { match: { path: '/**' }, every: { period: '60s', for: '10s' }, response: { status: 502 } },
};

async function call(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined && method !== 'GET') {
    options.headers['content-type'] = 'application/json';
    options.body = typeof body === 'string' ? body : JSON.stringify(body);
  }
  const response = await fetch(base + path, options);
  const text = await response.text();
  let data = text;
  try { data = JSON.parse(text); } catch { /* a text */ }
  return { ok: response.ok, status: response.status, data };
}

function show(result) {
  const text = typeof result.data === 'string' ? result.data : JSON.stringify(result.data, null, 2);
  byId('answer').textContent = `${result.status}\n${text}`;
  byId('answer').classList.toggle('bad', !result.ok);
}

function row(cells) {
  const line = document.createElement('tr');
  for (const [text, kind] of cells) {
    const cell = document.createElement('td');
    if (text instanceof Node) cell.append(text); else cell.textContent = text;
    if (kind) cell.className = kind;
    line.append(cell);
  }
  return line;
}

function none(columns, text) {
  const line = row([[text, 'none']]);
  line.firstChild.colSpan = columns;
  return line;
}

function ruleRow(rule) {
  const { name, match, seen, applied, ...rest } = rule;
  const button = document.createElement('button');
  button.textContent = 'Remove';
  button.setAttribute('aria-label', `Remove ${name}`);
  button.addEventListener('click', async () => { show(await call('DELETE', `/rules/${encodeURIComponent(name)}`)); refresh(); });
  return row([[name, 'code'], [match ? JSON.stringify(match) : 'all requests', 'code'], [JSON.stringify(rest), 'code'], [`${applied} of ${seen}`], [button]]);
}

function entryRow(entry) {
  const request = `${entry.method} ${entry.path}${entry.query ? `?${entry.query}` : ''}`;
  const time = new Date(entry.time * 1000).toISOString().slice(11, 23);
  return row([[entry.number], [time, 'code'], [request, 'code'], [entry.status ?? 'open', entry.status >= 500 ? 'bad' : ''], [entry.milliseconds], [entry.rule ?? '', 'code']]);
}

let busy = false;
async function refresh() {
  if (busy) return;
  busy = true;
  try {
    const status = (await call('GET', '/status')).data;
    byId('facts').textContent = `${status.url} · up ${Math.round(status.uptime_seconds)} s · ${status.connections} connections · ${status.journal.total} requests${status.seed === null ? '' : ` · seed ${status.seed}`}`;
    byId('clock').textContent = `${status.clock.now}${status.clock.stopped ? ' (stopped)' : ''}, ${status.clock.offset_seconds} s from the system's clock`;
    const rules = (await call('GET', '/rules')).data.rules;
    byId('rules').replaceChildren(...(rules.length ? rules.map(ruleRow) : [none(5, 'There are no rules.')]));
    const query = new URLSearchParams({ path: byId('path').value || '**', limit: '1000' });
    if (byId('status').value) query.set('status', byId('status').value);
    query.set('after', String(Math.max(0, status.journal.total - 1000)));
    const found = await call('GET', `/journal?${query}`);
    const entries = found.ok ? found.data.entries.slice(-50).reverse() : [];
    byId('journal').replaceChildren(...(entries.length ? entries.map(entryRow) : [none(6, found.ok ? 'There are no requests.' : found.data.error)]));
  } catch {
    byId('facts').textContent = 'The sandbox does not answer: is it running?';
  } finally {
    busy = false;
  }
}

for (const button of document.querySelectorAll('button[data-path]')) {
  button.addEventListener('click', async () => {
    show(await call(button.dataset.method, button.dataset.path, button.dataset.body));
    refresh();
  });
}
for (const name of Object.keys(examples)) byId('example').add(new Option(name));
const example = () => { byId('rule').value = JSON.stringify(examples[byId('example').value], null, 2); };
byId('example').addEventListener('change', example);
example();
byId('add-rule').addEventListener('click', async () => { show(await call('POST', '/rules', byId('rule').value)); refresh(); });
byId('call').addEventListener('click', async () => {
  const [method] = byId('operation').value.split(' ');
  show(await call(method, byId('target').value, byId('body').value));
  refresh();
});
call('GET', '/openapi.json').then(({ data }) => {
  for (const [path, methods] of Object.entries(data.paths)) {
    for (const method of Object.keys(methods)) byId('operation').add(new Option(`${method.toUpperCase()} ${path}`));
  }
  const choose = () => { byId('target').value = byId('operation').value.split(' ')[1]; };
  byId('operation').addEventListener('change', choose);
  choose();
});
setInterval(() => { if (byId('live').checked && !document.hidden) refresh(); }, 2000);
for (const id of ['path', 'status']) byId(id).addEventListener('input', refresh);
refresh();
