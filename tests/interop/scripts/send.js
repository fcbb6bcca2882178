// nodemailer: arguments port, sender, recipients; the message on standard input.
'use strict';
const nodemailer = require('nodemailer');

const [port, sender, ...recipients] = process.argv.slice(2);
const raw = require('fs').readFileSync(0);
const transport = nodemailer.createTransport({ host: '127.0.0.1', port: Number(port), ignoreTLS: true });

transport.sendMail({ envelope: { from: sender, to: recipients }, raw }).then(
    (info) => {
        if (info.rejected.length) throw info.rejectedErrors[0];
    },
).catch((fault) => {
    console.error(fault.message);
    process.exit(1);
});
