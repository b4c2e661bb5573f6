// Panels that lie over the map.

import { css } from "lit";

export const card = css`
  section {
    display: flex;
    flex-direction: column;
    min-height: 0;
    max-height: 100%;
    border: 1px solid var(--line);
    border-radius: 10px;
    background: var(--surface);
    box-shadow: var(--shadow);
  }
  .head {
    display: flex;
    align-items: center;
    padding: 6px 6px 2px 14px;
  }
  .head h2 {
    flex: 1;
  }
  .body {
    min-height: 0;
    padding: 2px 14px 14px;
    overflow-y: auto;
  }
  p {
    margin: 8px 0 0;
  }
  .actions {
    display: flex;
    flex-wrap: wrap;
    gap: 8px;
  }
  .choice {
    display: grid;
    grid-auto-columns: minmax(0, 1fr);
    grid-auto-flow: column;
    margin: 0;
    padding: 2px;
    border: 0;
    border-radius: 8px;
    background: var(--hover);
  }
  .choice label {
    position: relative;
    text-align: center;
  }
  .choice input {
    position: absolute;
    inset: 0;
    margin: 0;
    opacity: 0;
    cursor: pointer;
  }
  .choice span {
    display: block;
    padding: 4px 2px;
    border-radius: 6px;
    font-size: 13px;
  }
  .choice input:checked + span {
    background: var(--selected);
    box-shadow: 0 1px 2px rgb(0 0 0 / 18%);
    font-weight: 600;
  }
  .choice input:focus-visible + span {
    outline: 2px solid var(--accent);
  }
`;
