// Debian's command line client, by way of aws_fork.py. It is of 2022; what KMS can do since then it
// knows from models/, which holds names and types only.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const RUNNER = fileURLToPath(new URL('aws_fork.py', import.meta.url));
const MODELS = fileURLToPath(new URL('models', import.meta.url));

// GenerateDataKeyPair -> generate-data-key-pair
function commandOf(operation) {
    return operation.replace(/(?<!^)([A-Z])/g, '-$1').toLowerCase();
}

const ENVIRONMENT = {
    PATH: '/usr/bin:/bin',
    LC_ALL: 'C.UTF-8',
    AWS_DATA_PATH: MODELS,
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_MAX_ATTEMPTS: '1',
};

function credentialsOf({ id, secret, token }) {
    return {
        AWS_ACCESS_KEY_ID: id,
        AWS_SECRET_ACCESS_KEY: secret,
        ...(token !== undefined ? { AWS_SESSION_TOKEN: token } : {}),
    };
}

// A process of aws_fork.py, which takes one call at a time.
function startRunner() {
    const child = spawn('/usr/bin/python3', [RUNNER],
        { env: ENVIRONMENT, stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return async (call) => {
        child.stdin.write(`${JSON.stringify(call)}\n`);
        const { value, done } = await lines.next();
        if (done) {
            throw new Error(`${RUNNER} has ended`);
        }
        return JSON.parse(value);
    };
}

export function createClient() {
    const idle = [];

    return async (url, operation, input, as) => {
        const options = ['kms', commandOf(operation), '--endpoint-url', url, '--region', as.region,
            '--output', 'json', '--no-paginate', '--no-cli-pager',
            '--cli-binary-format', 'base64', '--cli-input-json', JSON.stringify(input)];
        const runner = idle.pop() ?? startRunner();
        const { status, out, err } = await runner({
            arguments: as.unsigned ? [...options, '--no-sign-request'] : options,
            environment: credentialsOf(as),
        });
        idle.push(runner);
        const error = /An error occurred \((\w+)\) when calling/.exec(err);
        if (status === 0) {
            return { output: out === '' ? {} : JSON.parse(out) };
        }
        if (error === null) {
            throw new Error(`aws ${operation}: exit ${status}: ${err}`);
        }
        return { error: error[1], message: err.trim() };
    };
}
