/** The web console: the daemon's pages for people. This module is what index.html loads; it talks to /v1 alone. */
import { startApp } from './app.ts';

startApp(document.body);
