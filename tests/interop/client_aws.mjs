// Debian's command line client: one process a call. It is of 2022; what KMS can do since then it
// knows from models/, which holds names and types only.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const PROGRAM = '/usr/bin/aws';
const MODELS = fileURLToPath(new URL('models', import.meta.url));

// GenerateDataKeyPair -> generate-data-key-pair
function commandOf(operation) {
    return operation.replace(/(?<!^)([A-Z])/g, '-$1').toLowerCase();
}

function environmentOf(as) {
    const environment = {
        PATH: '/usr/bin:/bin',
        LC_ALL: 'C.UTF-8',
        AWS_DATA_PATH: MODELS,
        AWS_CONFIG_FILE: '/dev/null',
        AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
        AWS_EC2_METADATA_DISABLED: 'true',
        AWS_MAX_ATTEMPTS: '1',
        AWS_ACCESS_KEY_ID: as.id,
        AWS_SECRET_ACCESS_KEY: as.secret,
    };
    if (as.token !== undefined) {
        environment.AWS_SESSION_TOKEN = as.token;
    }
    return environment;
}

export function createClient() {
    return (url, operation, input, as) => new Promise((resolve, reject) => {
        const options = ['kms', commandOf(operation), '--endpoint-url', url, '--region', as.region,
            '--output', 'json', '--no-paginate', '--no-cli-pager',
            '--cli-binary-format', 'base64', '--cli-input-json', JSON.stringify(input)];
        const child = spawn(PROGRAM, as.unsigned ? [...options, '--no-sign-request'] : options,
            { env: environmentOf(as), stdio: ['ignore', 'pipe', 'pipe'] });
        let out = '', err = '';
        child.stdout.on('data', (text) => { out += text; });
        child.stderr.on('data', (text) => { err += text; });
        child.on('error', reject);
        child.on('close', (status) => {
            const error = /An error occurred \((\w+)\) when calling/.exec(err);
            if (status === 0) {
                resolve({ output: out === '' ? {} : JSON.parse(out) });
            } else if (error !== null) {
                resolve({ error: error[1], message: err.trim() });
            } else {
                reject(new Error(`${PROGRAM} ${operation}: exit ${status}: ${err}`));
            }
        });
    });
}
