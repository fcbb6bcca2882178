// Run inside Thunderbird, in its chrome context: arguments are a step's name and its words; last the function that is
// called with {value} or {fault}.
const { MailServices } = ChromeUtils.importESModule('resource:///modules/MailServices.sys.mjs');
const { setTimeout } = ChromeUtils.importESModule('resource://gre/modules/Timer.sys.mjs');
const windows = (type = null) => [...Services.wm.getEnumerator(type)];
const loaded = () => windows().filter((one) => one.document.readyState === 'complete');
const text = (one) => one.document.getElementById('infoBody')?.textContent.trim(); // empty before it is laid out
const dialogs = () => loaded().filter(text);
const exceptions = () => loaded().filter((one) => one.document.documentURI.endsWith('/exceptionDialog.xhtml'));

const steps = {
    // As if the password manager had been told to remember it.
    async remember(origin, user, password) {
        const login = Cc['@mozilla.org/login-manager/loginInfo;1'].createInstance(Ci.nsILoginInfo);
        login.init(origin, null, origin, user, password, '', '');
        await Services.logins.addLoginAsync(login);
    },

    // Fill in the window for a new message, and send it as Ctrl+Return does.
    async write(identity, fields, files) {
        const params = Cc['@mozilla.org/messengercompose/composeparams;1'].createInstance(Ci.nsIMsgComposeParams);
        params.composeFields = Cc['@mozilla.org/messengercompose/composefields;1'].createInstance(Ci.nsIMsgCompFields);
        Object.assign(params.composeFields, fields);
        for (const [name, url] of Object.entries(files)) {
            const file = Cc['@mozilla.org/messengercompose/attachment;1'].createInstance(Ci.nsIMsgAttachment);
            Object.assign(file, { name, url });
            params.composeFields.addAttachment(file);
        }
        params.type = Ci.nsIMsgCompType.New;
        params.format = Ci.nsIMsgCompFormat.PlainText;
        params.identity = MailServices.accounts.getIdentity(identity);
        MailServices.compose.OpenComposeWindowWithParams(null, params);
        let window;
        while (!(window = windows('msgcompose')[0])?.gMsgCompose?.editor) await new Promise((go) => setTimeout(go, 50));
        window.setTimeout(() => window.goDoCommand('cmd_sendNow')); // it may wait in a dialog, and we do not
    },

    // Whether a message stands in its window, whether it is being sent, and what dialogs say.
    look() {
        const said = dialogs().map(text);
        const open = windows('msgcompose');
        return { open: open.length > 0, sending: open.some((one) => one.gSendOperationInProgress), said };
    },

    // Cancel all dialogs.
    cancel() {
        for (const one of dialogs()) one.document.querySelector('dialog').cancelDialog();
    },

    // Confirm Security Exception, where that is asked and the button is ready.
    trust() {
        const buttons = exceptions().map((one) => one.document.querySelector('dialog').getButton('extra1'));
        const ready = buttons.filter((one) => !one.disabled);
        for (const one of ready) one.click();
        return ready.length > 0;
    },

    // Give up the message.
    close() {
        for (const one of exceptions()) one.close();
        for (const one of windows('msgcompose')) {
            one.gContentChanged = false;
            one.close();
        }
    },
};

const [name, ...words] = arguments;
const done = words.pop();
Promise.resolve().then(() => steps[name](...words)).then(
    (value) => done({ value: value ?? null }),
    (fault) => done({ fault: `${fault}` }),
);
