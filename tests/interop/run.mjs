// Follows calls.json with one client against a kms-local of its own.
// usage: run.mjs KMS-LOCAL aws|sdk FOLDER-OF-NODE-MODULES [NAME-OF-SCENARIO]
//
// A scenario is a list of steps with variables in common. A step is one of
//   {"call": OPERATION, "with": INPUT, "as": IDENTITY, "gives": {PATH: EXPECTED}, "keep": {VAR: PATH}}
//   {"call": OPERATION, "with": INPUT, "as": IDENTITY, "error": EXCEPTION}
//   {"check": NAME OF checks.mjs, ...}
//   {"each": [{VAR: VALUE}], "steps": [STEP]}
// "$VAR" stands for a variable; {"$text": ...} and the other functions below for what they make.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import * as crypto from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as http from 'node:http';
import { createInterface } from 'node:readline';
import { checks } from './checks.mjs';

const WORKERS = 3;
const RIGHT = { id: 'local', secret: 'local', region: 'eu-central-1' };
const OPTIONS = ['--port', '0', '--credentials', 'local:local',
    '--credentials', 'temporary:secret:token'];

const functions = {
    $text: (text) => Buffer.from(text).toString('base64'),
    $bytes: (count) => Buffer.alloc(count, 'k').toString('base64'),
    $digest: ([hash, text]) => crypto.createHash(hash).update(text).digest('base64'),
    $repeat: ([text, count]) => text.repeat(count),
    $tags: (count) => Array.from({ length: count },
        (_, i) => ({ TagKey: `tag-${i}`, TagValue: '' })),
    $flip: (base64) => {
        const bytes = Buffer.from(base64, 'base64');
        bytes[bytes.length - 1] ^= 1;
        return bytes.toString('base64');
    },
};

const matchers = {
    $length: (value, count) => assert.equal(Buffer.from(value, 'base64').length, count),
    $count: (value, count) => assert.equal(value.length, count),
    $has: (value, item) => assert.ok(value.some((v) => partly(v, item)), `lacks ${show(item)}`),
    $matches: (value, pattern) => assert.match(value, new RegExp(pattern)),
    $not: (value, other) => assert.notDeepEqual(value, other),
    $time: (value) => assert.ok(Date.parse(value) > Date.parse('2020-01-01')),
    $absent: (value) => assert.equal(value, undefined),
};

function show(value) {
    return JSON.stringify(value);
}

function partly(value, pattern) {
    if (pattern === null || typeof pattern !== 'object') {
        return value === pattern;
    }
    return Object.entries(pattern).every(([k, v]) => partly(value?.[k], v));
}

function lookUp(variables, name) {
    assert.ok(name in variables, `no variable ${name}`);
    return variables[name];
}

// Puts in variables and what functions make; matchers stay.
function evaluate(value, variables) {
    if (typeof value === 'string') {
        const whole = /^\$(\w+)$/.exec(value);
        return whole !== null ? lookUp(variables, whole[1])
            : value.replace(/\$\{(\w+)\}/g, (_, name) => lookUp(variables, name));
    }
    if (Array.isArray(value)) {
        return value.map((item) => evaluate(item, variables));
    }
    if (value === null || typeof value !== 'object') {
        return value;
    }
    const entries = Object.entries(value).map(([k, v]) => [k, evaluate(v, variables)]);
    if (entries.length === 1 && entries[0][0] in functions) {
        return functions[entries[0][0]](entries[0][1]);
    }
    return Object.fromEntries(entries);
}

function at(output, path) {
    return path.split('.').reduce((value, name) => value?.[name], output);
}

function compare(value, expected) {
    const [name] = expected !== null && typeof expected === 'object' ? Object.keys(expected) : [];
    if (name in matchers) {
        matchers[name](value, expected[name]);
    } else {
        assert.deepEqual(value, expected);
    }
}

class Run {
    constructor(client, url, tamperedUrl) {
        Object.assign(this, { client, url, tamperedUrl, calls: 0, operations: new Set() });
    }

    async call(step, variables) {
        const { tampered, ...as } = { ...RIGHT, ...evaluate(step.as ?? {}, variables) };
        const input = evaluate(step.with ?? {}, variables);
        const { output, error, message } = await this.client(
            tampered ? this.tamperedUrl : this.url, step.call, input, as);
        this.calls++;
        this.operations.add(step.call);
        assert.equal(error, step.error, message ?? `no error, but ${show(output)}`);
        for (const [path, expected] of Object.entries(evaluate(step.gives ?? {}, variables))) {
            compare(at(output, path), expected);
        }
        for (const [name, path] of Object.entries(step.keep ?? {})) {
            variables[name] = at(output, path);
            assert.notEqual(variables[name], undefined, `no ${path} in ${show(output)}`);
        }
    }

    async step(step, variables) {
        if (step.each !== undefined) {
            for (const row of step.each) {
                await this.steps(step.steps, Object.assign(variables, evaluate(row, variables)));
            }
        } else if (step.check !== undefined) {
            Object.assign(variables, checks[step.check](evaluate(step, variables)));
        } else {
            await this.call(step, variables);
        }
    }

    async steps(steps, variables) {
        for (const step of steps) {
            try {
                await this.step(step, variables);
            } catch (error) {
                if (!error.located) {
                    error.message = `${show(step).slice(0, 400)}\n      ${error.message}`;
                    error.located = true;
                }
                throw error;
            }
        }
    }
}

function startServer(program) {
    const server = spawn(program, OPTIONS, { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = new Promise((resolve) => { server.on('close', (status) => resolve(status)); });
    const ready = new Promise((resolve, reject) => {
        server.on('error', reject);
        ended.then((status) => reject(new Error(`kms-local ended with ${status}`)));
        createInterface({ input: server.stdout }).on('line', (line) => {
            const match = /^kms-local ready on (\S+)$/.exec(line);
            if (match !== null) {
                resolve(match[1]);
            }
        });
    });
    return { server, ready, ended };
}

// Passes requests on with one blank more in the body, which is the same JSON and another hash.
function startTampering(url) {
    const proxy = http.createServer((request, response) => {
        const headers = { ...request.headers };
        headers['content-length'] = String(Number(headers['content-length']) + 1);
        const onward = http.request(url, { method: request.method, headers }, (answer) => {
            response.writeHead(answer.statusCode, answer.headers);
            answer.pipe(response);
        });
        onward.on('error', () => response.destroy());
        request.on('data', (data) => onward.write(data));
        request.on('end', () => onward.end(' '));
    });
    return new Promise((resolve) => {
        proxy.listen(0, '127.0.0.1', () => resolve(proxy));
    });
}

const [program, clientName, folder, only] = process.argv.slice(2);
const table = JSON.parse(readFileSync(new URL('calls.json', import.meta.url)));
const scenarios = table.scenarios
    .filter(({ name }) => only === undefined || name === only);
const { createClient } = await import(`./client_${clientName}.mjs`);
const { server, ready, ended } = startServer(program);
const url = await ready;
const proxy = await startTampering(url);
const run = new Run(createClient(folder), url, `http://127.0.0.1:${proxy.address().port}`);
const waiting = [...scenarios];
let failures = scenarios.length === 0 ? 1 : 0;

async function work() {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        try {
            await run.steps(next.steps, {});
            console.log(`ok      ${next.name}`);
        } catch (error) {
            failures++;
            console.log(`FAILED  ${next.name}\n    ${error.message}`);
        }
    }
}

await Promise.all(Array.from({ length: WORKERS }, work));
proxy.close();
proxy.closeAllConnections();
server.kill('SIGTERM');
if (only === undefined) {
    for (const operation of table.operations.filter((name) => !run.operations.has(name))) {
        failures++;
        console.log(`FAILED  ${operation} is in no scenario`);
    }
}
const status = await ended;
if (status !== 0) {
    failures++;
    console.log(`FAILED  kms-local ended with ${status}`);
}
console.log(`${clientName}: ${scenarios.length} scenarios, ${run.calls} calls of `
    + `${run.operations.size} operations, ${failures} failed`);
process.exit(failures === 0 ? 0 : 1);
