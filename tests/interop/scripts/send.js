// nodemailer: arguments port, sender, recipients; the message on standard input.
'use strict';
const nodemailer = require('nodemailer');

const [where, sender, ...recipients] = process.argv.slice(2);
const [port, way, authMethod, pass] = where.split('/');
const raw = require('fs').readFileSync(0);
const clear = { host: '127.0.0.1', port: Number(port), ignoreTLS: true };
const login = { ignoreTLS: false, tls: { rejectUnauthorized: false }, auth: { user: sender, pass }, authMethod };
const secure = { ...login, secure: way === 'tls', requireTLS: way === 'starttls' };
const transport = nodemailer.createTransport(way ? { ...clear, ...secure } : clear);

transport.sendMail({ envelope: { from: sender, to: recipients }, raw }).then(
    (info) => {
        if (info.rejected.length) throw info.rejectedErrors[0];
    },
).catch((fault) => {
    console.error(fault.message);
    process.exit(1);
});
